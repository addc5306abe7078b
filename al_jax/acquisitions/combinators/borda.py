"""Borda count: scores of different units, summed as ranks."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.combinators.parts import as_score, joined
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


def points(scores: Float[Array, " n"], available: Bool[Array, " n"]) -> Float[Array, " n"]:
    """How many available rows a row beats, in [0, n_available - 1]; equals beat each other by half. NaN ranks last."""
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    ascending = jnp.sort(jnp.where(available, scores, jnp.inf))
    below = jnp.searchsorted(ascending, scores, side="left")
    not_above = jnp.minimum(jnp.searchsorted(ascending, scores, side="right"), jnp.sum(available))
    return 0.5 * (below + not_above - 1)


@memoised
def borda(*scores: ScoreFn | Acquisition) -> Acquisition:
    """The B rows with the largest sum of ranks over several scores, whatever their units (Ozdemir et al. 2018).

    In each score an available row has as many points as available rows are worse, and half a point for each equal
    one, so that a score that is the same for all rows decides nothing. `Acquired.scores` are the sums of points. A part
    is a score, or a method of one score a row (`epig`, `egl`). Cost: a sort a score; memory: a float a row and score.

    Departures: the paper fuses the ranks of an uncertainty with those of a greedy max-cover; here all are scores.
    ValueError for no score, for a part that chooses whole batches, and for parts with different shortlists.
    """
    parts = tuple(map(as_score, scores))
    if not parts:
        raise ValueError("scores: expected at least one")

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        total = sum(points(part, available) for part in summary)
        return Acquired(*best(key, jnp.asarray(total), available, batch_size))

    return joined(parts, select)
