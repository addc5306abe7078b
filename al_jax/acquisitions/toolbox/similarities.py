"""Inner products, distances and kernels of represented rows, in full float32 precision."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from al_jax.acquisitions.toolbox.representations import Factors

BLOCK = 1024
"""Rows compared at a time with all others."""


def inner_products(a: Factors, b: Factors) -> Float[Array, "n m"]:
    """<a_i, b_j>."""
    products = [jnp.matmul(left, right.T, precision="highest") for left, right in zip(a, b, strict=True)]
    return jnp.stack(products).prod(0) if len(products) > 1 else products[0]


def squared_norms(a: Factors) -> Float[Array, " n"]:
    """|a_i|^2."""
    return jnp.stack([jnp.sum(factor * factor, axis=-1) for factor in a]).prod(0)


def squared_distances(a: Factors, b: Factors) -> Float[Array, "n m"]:
    """|a_i - b_j|^2 by matrix products; never negative, with an error that the norms have. Centre vectors first."""
    return jnp.maximum(squared_norms(a)[:, None] + squared_norms(b) - 2.0 * inner_products(a, b), 0.0)


def squared_distances_to(a: Factors, b: Factors, row: Int[Array, ""]) -> Float[Array, " n"]:
    """|a_i - b_row|^2 for one row of `b`, from differences: exactly 0 for equal rows, at the cost of one read of `a`.

    Of two factors, o h' - o_r h_r' is split into (o - o_r) h' + o_r (h - h_r)'. ValueError for more factors.
    """
    one = tuple(factor[row] for factor in b)
    if len(a) == 1:
        return jnp.sum(jnp.square(a[0] - one[0]), axis=-1)
    if len(a) > 2:
        raise ValueError(f"{len(a)} factors: expected 1 or 2")
    (outer, inner), (outer_one, inner_one) = a, one
    by_outer, by_inner = outer - outer_one, inner - inner_one
    square = jnp.sum(by_outer**2, -1) * jnp.sum(inner**2, -1) + jnp.sum(outer_one**2) * jnp.sum(by_inner**2, -1)
    mixed = jnp.sum(by_outer * outer_one, -1) * jnp.sum(inner * by_inner, -1)
    return jnp.maximum(square + 2.0 * mixed, 0.0)


def centred(rows: Factors, others: Factors) -> tuple[Factors, Factors]:
    """Vectors without the mean of `rows`, in which their differences would drown; products of factors as they are.

    Eight bits of the mean are taken away, which keeps equal rows equal. Distances stay what they are.
    """
    if len(rows) > 1:
        return rows, others
    centre = jnp.mean(rows[0], axis=0).astype(jnp.bfloat16).astype(rows[0].dtype)
    return (rows[0] - centre,), (others[0] - centre,)


def unit(rows: Factors) -> Factors:
    """Rows of length 1, so that inner products are cosines; a row of zeros stays 0."""

    def scaled(factor: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(factor * factor, axis=-1, keepdims=True))
        return jnp.where(norm > 0, factor / jnp.where(norm > 0, norm, 1.0), 0.0)

    return tuple(map(scaled, rows))


def nearest(rows: Factors, others: Factors, valid: Array) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    """Squared distance to the nearest `valid` one of `others` [m], and which it is; +inf and 0 where there is none.

    In blocks of `others`, so that memory grows with n alone.
    """
    size, count = min(BLOCK, max(len(valid), 1)), len(valid)
    start = jnp.full(len(rows[0]), jnp.inf), jnp.zeros(len(rows[0]), jnp.int32)
    if count == 0:
        return start
    blocks = -(-count // size)

    def closer(carry: tuple[Array, Array], block: Array) -> tuple[tuple[Array, Array], None]:
        best, which = carry
        places = block * size + jnp.arange(size)
        there = jnp.minimum(places, count - 1)
        found = squared_distances(rows, tuple(factor[there] for factor in others))
        found = jnp.where(valid[there] & (places < count), found, jnp.inf)
        place = jnp.argmin(found, axis=1)
        value = jnp.take_along_axis(found, place[:, None], axis=1)[:, 0]
        better = value < best
        return (jnp.where(better, value, best), jnp.where(better, there[place], which)), None

    return jax.lax.scan(closer, start, jnp.arange(blocks))[0]
