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


def squared_distances_to(rows: Factors, norms: Float[Array, " n"], row: Int[Array, ""]) -> Float[Array, " n"]:
    """|a_i - a_row|^2, given all `squared_norms`: exactly 0 for equal rows, at the cost of one read of the rows.

    (|a_i|^2 - |a_row|^2) - 2 (<a_i, a_row> - <a_row, a_row>), where both differences of equal rows are 0.
    """
    products = inner_products(rows, tuple(factor[row][None] for factor in rows))[:, 0]
    return jnp.maximum((norms - norms[row]) - 2.0 * (products - products[row]), 0.0)


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

    def of_length_1(factor: Array) -> Array:
        largest = jnp.max(jnp.abs(factor), axis=-1, keepdims=True)
        scaled = factor / jnp.where(largest > 0, largest, 1.0)  # whose squares neither vanish nor overflow
        length = jnp.sqrt(jnp.sum(scaled**2, axis=-1, keepdims=True))
        return scaled / jnp.where(length > 0, length, 1.0)

    return tuple(map(of_length_1, rows))


def nearest(rows: Factors, others: Factors, valid: Array) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    """Squared distance to the nearest `valid` one of `others`, and which it is; +inf and 0 where there is none.

    `valid` is [m], or [n, m] where other ones count for every row. In blocks of `others`.
    """
    count, pairs = valid.shape[-1], jnp.atleast_2d(valid)
    size = min(BLOCK, max(count, 1))
    start = jnp.full(len(rows[0]), jnp.inf), jnp.zeros(len(rows[0]), jnp.int32)
    if count == 0:
        return start
    blocks = -(-count // size)

    def closer(carry: tuple[Array, Array], block: Array) -> tuple[tuple[Array, Array], None]:
        best, which = carry
        places = block * size + jnp.arange(size)
        there = jnp.minimum(places, count - 1)
        found = squared_distances(rows, tuple(factor[there] for factor in others))
        found = jnp.where(pairs[:, there] & (places < count), found, jnp.inf)
        place = jnp.argmin(found, axis=1)
        value = jnp.take_along_axis(found, place[:, None], axis=1)[:, 0]
        better = value < best
        return (jnp.where(better, value, best), jnp.where(better, there[place], which)), None

    return jax.lax.scan(closer, start, jnp.arange(blocks))[0]
