"""Robust core-set: k-center with a share of rows that need not be covered."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.farthest_first import farthest_first
from al_jax.acquisitions.toolbox.greedy import Picked, shuffled
from al_jax.acquisitions.toolbox.representations import Factors, features, known_rows, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest, squared_distances_to, squared_norms
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

STEPS = 10
"""Halvings of the interval in which the radius is sought."""
EXPANSION = 3.0
"""How many radii a chosen row covers: the factor of the approximation."""


@memoised
def robust_core_set(outliers: float = 1e-4) -> Acquisition:
    """A small radius within which labelled and chosen rows cover all but `outliers` N rows (Sener & Savarese 2018).

    Their algorithm 2 halves an interval of radii and asks a mixed-integer program whether B rows cover enough at each.
    Here that question is answered by the greedy 3-approximation of Charikar et al. 2001: each pick has most uncovered
    available rows within the radius, and then covers all within three radii. The interval begins at 0 and the radius of
    `core_set`, which has no outliers. `Acquired.scores` are the numbers of rows within a radius of a pick that were not
    covered before.

    Cost: ten searches of `prob_cover`, each O(N^2 D): prefilter it, or offer a subset, where N is above some 10 000.
    Memory: the features. ValueError unless 0 <= outliers < 1, and when the network names no features.
    """
    if not 0 <= outliers < 1:
        raise ValueError(f"outliers={outliers}: expected a share, 0 or more and less than 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        rows, known = centred(rows, known)
        to_known = nearest(rows, known, labelled)[0]
        picked = smallest_radius(rows, to_known, free, batch_size, outliers)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(features), select, of_labelled(features))


def smallest_radius(
    rows: Factors, to_known: Float[Array, " n"], free: Bool[Array, " n"], batch_size: int, outliers: float
) -> Picked:
    """The picks at the smallest radius that leaves at most `outliers` n rows uncovered, by bisection.

    `to_known` are squared distances to labelled rows; rows that are not `free` need not be covered.
    """
    norms, weights = squared_norms(rows), free.astype(jnp.float32)
    allowed = outliers * weights.sum()

    def covered_by(picked: Picked, start: Array, reach: Array) -> Array:
        def add(cover: Array, pick: tuple[Array, Array]) -> tuple[Array, None]:
            row, value = pick
            near = squared_distances_to(rows, norms, row) <= reach
            return cover | (near & (value > -jnp.inf)), None

        return lax.scan(add, start, (picked.positions, picked.values))[0]

    def at(radius: Array) -> tuple[Picked, Array]:
        squared = jnp.square(radius)
        cover = (to_known <= EXPANSION**2 * squared).astype(jnp.float32)
        picked = facility_location(
            rows,
            weights,
            cover,
            lambda found: (found <= squared).astype(jnp.float32),
            free,
            batch_size,
            covering=lambda found: (found <= EXPANSION**2 * squared).astype(jnp.float32),
        )
        covered = covered_by(picked, cover > 0, EXPANSION**2 * squared)
        return picked, jnp.sum(weights * ~covered) <= allowed

    # Farthest-first: after its picks no row is farther from one than the last distance at which it would pick.
    whole = farthest_first(rows, to_known, free, batch_size)
    left = jnp.where(free, jnp.minimum(to_known, _to_picks(rows, norms, whole)), 0.0)
    high = jnp.sqrt(jnp.max(left))

    def halve(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = state
        middle = (low + high) / 2
        enough = at(middle)[1]
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    return at(lax.fori_loop(0, STEPS, halve, (jnp.zeros(()), high))[1])[0]


def _to_picks(rows: Factors, norms: Array, picked: Picked) -> Array:
    def closer(squared: Array, pick: tuple[Array, Array]) -> tuple[Array, None]:
        row, value = pick
        found = jnp.where(value > -jnp.inf, squared_distances_to(rows, norms, row), jnp.inf)
        return jnp.minimum(squared, found), None

    return lax.scan(closer, jnp.full(len(norms), jnp.inf), (picked.positions, picked.values))[0]
