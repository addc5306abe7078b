"""The selector that covers all rows: lazy greedy maximisation of sum_u weight_u max_s kernel(u, s)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.greedy import LOWEST, Picked, pick_one_by_one
from al_jax.acquisitions.toolbox.representations import Factors
from al_jax.acquisitions.toolbox.similarities import squared_distances, squared_distances_to, squared_norms

CANDIDATES, COVERED = 128, 2048
"""Candidates whose gains are found at a time, and rows that they may cover in one matrix product."""


class Coverage(NamedTuple):
    """How well every row is covered, and what every candidate would add at most; fresh gains are exact."""

    cover: Float[Array, " n"]
    gains: Float[Array, " n"]
    fresh: Bool[Array, " n"]


def facility_location(
    rows: Factors,
    weights: Float[Array, " n"],
    cover: Float[Array, " n"],
    kernel: Callable[[Array], Array],
    available: Bool[Array, " n"],
    batch_size: int,
    covering: Callable[[Array], Array] | None = None,
) -> Picked:
    """Add the row of the largest gain sum_u weight_u max(0, kernel(|u - s|^2) - cover_u), `batch_size` times.

    `cover` is what labelled rows give. A chosen row covers others by `covering`, by default the kernel itself. The
    gains only fall, so that last pick's are bounds: candidates are looked at again in the order of these until the best
    exact gain is above all other bounds (Minoux 1978). The picks are those of the full search. Values are the gains.
    The first pick costs O(N^2 D), as later ones at worst; memory O(N).
    """
    n = len(available)
    size, part = min(CANDIDATES, n), min(COVERED, n)
    parts, norms = -(-n // part), squared_norms(rows)

    def gains_of(candidates: Array, cover: Array) -> Array:
        some = tuple(factor[candidates] for factor in rows)

        def add(total: Array, index: Array) -> tuple[Array, None]:
            # The last part starts early enough to be whole; what it would count twice has no weight in it.
            first = jnp.minimum(index * part, n - part)
            places = first + jnp.arange(part)
            weight = jnp.where(places >= index * part, weights[places], 0.0)
            near = kernel(squared_distances(tuple(factor[places] for factor in rows), some))
            more = jnp.maximum(near - cover[places][:, None], 0.0)
            return total + jnp.matmul(weight, more, precision="highest"), None

        return jax.lax.scan(add, jnp.zeros(len(candidates)), jnp.arange(parts))[0]

    def refreshed(state: Coverage, free: Array) -> Coverage:
        def stale_best(state: Coverage) -> Array:
            return jnp.max(jnp.where(free & ~state.fresh, state.gains, -jnp.inf))

        def looking(state: Coverage) -> Array:
            exact = jnp.max(jnp.where(free & state.fresh, state.gains, -jnp.inf))
            return stale_best(state) > exact

        def look(state: Coverage) -> Coverage:
            _, candidates = jax.lax.top_k(jnp.where(free & ~state.fresh, state.gains, -jnp.inf), size)
            found = gains_of(candidates, state.cover)
            return Coverage(state.cover, state.gains.at[candidates].set(found), state.fresh.at[candidates].set(True))

        return jax.lax.while_loop(looking, look, state)

    def updated(state: tuple[Coverage, Array], row: Array) -> Any:
        coverage, free = state
        near = (covering or kernel)(squared_distances_to(rows, norms, row))
        free = free.at[row].set(False)
        stale = Coverage(jnp.maximum(coverage.cover, near), coverage.gains, jnp.zeros(n, bool))
        return refreshed(stale, free), free

    # The first gains, of the rows that may be chosen alone.
    candidates = jnp.argsort(~available, stable=True)

    def first(block: Array, gains: Array) -> Array:
        some = candidates[jnp.minimum(block * size + jnp.arange(size), n - 1)]
        return gains.at[some].set(gains_of(some, cover))

    gains = jax.lax.fori_loop(0, -(-available.sum() // size), first, jnp.zeros(n))
    start = Coverage(cover, gains, jnp.ones(n, bool)), available

    def values(state: tuple[Coverage, Array], _: Array) -> Array:
        coverage, _ = state
        return jnp.where(coverage.fresh, coverage.gains, LOWEST)

    return pick_one_by_one(start, values, updated, available, batch_size)
