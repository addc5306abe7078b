"""BAIT: the batch after which the pool's Fisher information is covered best, chosen forward and backward."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.representations import (
    features,
    known_rows,
    mean_probabilities,
    of_labelled,
    summarised,
)
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

CHUNK = 128
"""Rows whose products with a matrix of weights are held at a time."""
LARGEST = 4096
"""C D: what a matrix of that many rows and columns is still a matter of seconds."""


class Row(NamedTuple):
    """Rows with Fisher information V V^T of the last layer, V = sqrt(p_c) (e_c - p) (x) h for every class c."""

    p: Float[Array, "n C"]
    h: Float[Array, "n D"]


@memoised
def bait(ridge: float = 1.0, oversample: int = 2) -> Acquisition:
    """Greedily lower tr(M^-1 F), M the information of labelled and chosen rows (Ash et al. 2021, algorithm 1).

    A row's information about the last layer is I(x) = (diag p - p p^T) (x) h h^T, a matrix of C D x C D; M = ridge +
    sum of I over labelled and chosen rows, F its mean over labelled and available ones. `oversample` B rows are added,
    each that which lowers the trace most; then all but B are dropped, each that which raises it least. Of the batch
    `Acquired.scores` are how far a row lowered the trace when it was added.

    Args:
      ridge: of the prior, the matrix's unit.
      oversample: 1 leaves the backward pass out.

    Departure: the authors' code weighs labelled rows and candidates by the labelled share. Cost: N (C D)^2 products for
    each of `oversample` B picks: 10 000 rows, C D = 640 and B = 100 take half a minute, so prefilter larger ones.
    Memory: five matrices and a chunk. Certain predictions carry no information: such rows come last. ValueError for
    arguments out of range, C D above 4096, and when the network names no features.
    """
    if not 0 < ridge < float("inf"):
        raise ValueError(f"ridge={ridge}: expected a positive, finite number")
    if oversample < 1:
        raise ValueError(f"oversample={oversample}: expected at least 1")

    def of(predictions: Any) -> Row:
        return Row(mean_probabilities(predictions), features(predictions)[0])

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        if (width := rows.p.shape[1] * rows.h.shape[1]) > LARGEST:
            raise ValueError(f"C D = {width}: expected at most {LARGEST} entries of the last layer; take badge or lcmd")
        rows, known = Row(*rows), Row(*known)
        of_known, of_pool = (_information(some, which) for some, which in ((known, labelled), (rows, free)))
        fisher = (of_known + of_pool) / jnp.maximum(labelled.sum() + free.sum(), 1)
        inverse = _symmetric(jnp.linalg.inv(ridge * jnp.eye(width) + of_known))
        begin, steps = Covered(inverse, _product(inverse, fisher, inverse)), min(oversample * batch_size, len(free))

        def values(state: Covered, _: Array) -> Float[Array, " n"]:
            return _trace_change(rows, state, 1.0)

        def updated(state: Covered, row: Array) -> Covered:
            return _changed(state, fisher, _root(rows, row) * free[row], 1.0)

        start = pick_one_by_one(begin, values, updated, free, steps)
        kept = _dropped(rows, fisher, begin, start.positions, free, steps - batch_size)
        chosen = jnp.argsort(~kept, stable=True)[:batch_size]
        return Acquired(order[start.positions[chosen]], start.values[chosen])

    return Acquisition(summarised(of), select, of_labelled(of))


class Covered(NamedTuple):
    """A, the inverse of the information M so far, and A F A."""

    inverse: Float[Array, "CD CD"]
    both: Float[Array, "CD CD"]


def _dropped(rows: Row, fisher: Array, begin: Covered, picked: Array, free: Array, surplus: int) -> Bool[Array, " B"]:
    """Which of the picked rows stay when `surplus` are dropped, each that which raises the trace least."""
    some = jax.tree.map(lambda leaf: leaf[picked], rows)

    def add(state: Covered, place: Array) -> tuple[Covered, None]:
        return _changed(state, fisher, _root(some, place) * free[picked[place]], 1.0), None

    def drop(carry: tuple[Covered, Array], _: None) -> tuple[tuple[Covered, Array], None]:
        state, kept = carry
        cost = jnp.where(free[picked], _trace_change(some, state, -1.0), -1.0)
        place = jnp.argmin(jnp.where(kept, cost, jnp.inf))
        state = _changed(state, fisher, _root(some, place) * free[picked[place]], -1.0)
        return (state, kept.at[place].set(False)), None

    if surplus == 0:
        return jnp.ones(len(picked), bool)
    full, _ = jax.lax.scan(add, begin, jnp.arange(len(picked)))
    (_, kept), _ = jax.lax.scan(drop, (full, jnp.ones(len(picked), bool)), length=surplus)
    return kept


def _root(rows: Row, row: Array) -> Float[Array, "CD C"]:
    """V of one row, whose square is its information."""
    p, h = rows.p[row], rows.h[row]
    columns = jnp.sqrt(p) * (jnp.eye(len(p)) - p[:, None])
    return (columns[:, None, :] * h[None, :, None]).reshape(-1, len(p))


def _information(rows: Row, which: Bool[Array, " n"]) -> Float[Array, "CD CD"]:
    """sum of (diag p - p p^T) (x) h h^T over these rows."""
    (n, classes), width = rows.p.shape, rows.h.shape[1]
    size = min(CHUNK, max(n, 1))

    def add(total: Array, block: Array) -> tuple[Array, None]:
        places = block * size + jnp.arange(size)
        there = jnp.minimum(places, n - 1)
        p, h = rows.p[there], jnp.where(((places < n) & which[there])[:, None], rows.h[there], 0.0)
        blocks = jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]
        right = (blocks[:, :, :, None] * h[:, None, None, :]).reshape(size, -1)
        return total + jnp.matmul(h.T, right, precision="highest"), None

    if n == 0:
        return jnp.zeros((classes * width, classes * width))
    total, _ = jax.lax.scan(add, jnp.zeros((width, classes * classes * width)), jnp.arange(-(-n // size)))
    total = total.reshape(width, classes, classes, width).transpose(1, 0, 2, 3)
    return total.reshape(classes * width, classes * width)


def _trace_change(rows: Row, state: Covered, sign: float) -> Float[Array, " n"]:
    """tr((I + sign V^T A V)^-1 V^T A F A V) of every row."""
    (n, classes), width = rows.p.shape, rows.h.shape[1]

    def by_row(matrix: Array) -> Array:  # [D, C C D]
        return matrix.reshape(classes, width, classes, width).transpose(1, 0, 2, 3).reshape(width, -1)

    stacked, size = jnp.concatenate(list(map(by_row, state)), axis=1), min(CHUNK, n)

    def of_block(block: Array) -> Array:
        there = jnp.minimum(block * size + jnp.arange(size), n - 1)
        p, h = rows.p[there], rows.h[there]
        found = jnp.matmul(h, stacked, precision="highest").reshape(size, 2, classes, classes, width)
        blocks = jnp.einsum("nsije,ne->snij", found, h, precision="highest")
        columns = jnp.sqrt(p)[:, None, :] * (jnp.eye(classes) - p[:, :, None])
        own, change = jnp.einsum("nic,snij,njk->snck", columns, blocks, columns, precision="highest")
        return jnp.trace(jnp.linalg.solve(jnp.eye(classes) + sign * own, change), axis1=1, axis2=2)

    return jax.lax.map(of_block, jnp.arange(-(-n // size))).reshape(-1)[:n]


def _changed(state: Covered, fisher: Array, root: Float[Array, "CD C"], sign: float) -> Covered:
    """What is covered by M + sign V V^T, by Woodbury's identity."""
    product = _product(state.inverse, root)
    inner = jnp.linalg.inv(jnp.eye(root.shape[1]) + sign * _product(root.T, product))
    left, seen = sign * _product(product, inner), _product(fisher, product)
    mixed = _product(left, _product(state.inverse, seen).T)
    again = _product(left, _product(product.T, seen), left.T)
    return Covered(
        _symmetric(state.inverse - _product(left, product.T)), _symmetric(state.both - mixed - mixed.T + again)
    )


def _product(*matrices: Array) -> Array:
    return functools.reduce(functools.partial(jnp.matmul, precision="highest"), matrices)


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2
