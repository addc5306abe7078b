"""Suggestive annotation: uncertain rows that represent the pool."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import features
from al_jax.acquisitions.toolbox.similarities import unit
from al_jax.memo import memoised
from al_jax.pool import best, scored
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round, ScoreFn


@memoised
def suggestive(score: ScoreFn, m: int) -> Acquisition:
    """The m most uncertain rows; of these those that represent all offered rows best (Yang et al. 2017, sec. 3.3).

    Greedily maximises sum_u max_s cos(u, s) over chosen rows s, cosines between features; labelled rows play no part.
    `Acquired.scores` are what a row adds. Cost: O(N m D) for the first pick; memory: the features. Rows of zeros have
    cosine 0 with all. ValueError when m < 1 or smaller than the batch, and when the network names no features.
    """
    if m < 1:
        raise ValueError(f"m={m}: expected at least 1")

    def summarise(round: Round, x: Inputs, rows: Array) -> Any:
        predictions = round.functions(x)
        return features(predictions), scored(score, predictions.samples)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        if m < batch_size:
            raise ValueError(f"m={m}: expected at least batch_size={batch_size}")
        order_key, best_key = jax.random.split(key)
        order, ((rows, scores), free) = shuffled(order_key, (summary, available))
        chosen, _ = best(best_key, scores, free, min(m, len(scores)))
        shortlist = jnp.zeros(len(free), bool).at[chosen].set(free[chosen])
        lowest = jnp.full(len(free), -1.0)  # no cosine is below it
        picked = facility_location(
            unit(rows), jnp.ones(len(free)), lowest, lambda squared: 1.0 - squared / 2.0, shortlist, batch_size
        )
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarise, select)
