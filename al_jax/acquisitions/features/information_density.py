"""Information density: a score weighted by how typical a row is of the pool."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.combinators.parts import alongside, as_score
from al_jax.acquisitions.scores import margin
from al_jax.acquisitions.toolbox.reading import features_of
from al_jax.acquisitions.toolbox.similarities import unit
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


def density(units: Float[Array, "n D"], available: Bool[Array, " n"]) -> Float[Array, " n"]:
    """The mean cosine of every row with the available ones, itself included, by one product with their mean."""
    number = jnp.maximum(jnp.sum(available), 1)
    mean = jnp.sum(jnp.where(available[:, None], units, 0.0), axis=0) / number
    return jnp.matmul(units, mean, precision="highest")


@memoised
def information_density(score: ScoreFn | Acquisition, power: float = 1.0) -> Acquisition:
    """The rows with the largest score(x) (mean over the pool u of cos(x, u))^power (Settles & Craven 2008).

    Cosines are between `Predictions.features`; the pool is the available rows, after a prefilter the shortlist. A mean
    cosine below 0 counts as 0, and so does that of features of length 0; with power 0 it is the score alone. In the
    score's unit. The score, or method of one score a row, must not be negative. Memory: the features [N, D]; cost: one
    product [N, D] by [D], for a sum of cosines is one product with the sum of unit features.

    Departures: the paper's features are those of the sequence model, here the network's. ValueError for a power that is
    negative or not finite, for `margin`, which is never above 0, for a method that chooses whole batches, and when the
    network names no features.
    """
    if not 0 <= power < float("inf"):
        raise ValueError(f"power={power}: expected 0 or more, and finite")
    if score is margin:
        raise ValueError("score=margin is never above 0: expected least_confidence or another one of 0 or more")

    def extra(predictions: Any) -> Float[Array, "n D"]:
        return unit((features_of(predictions, "information_density"),))[0]

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        scores, units = summary
        weight = jnp.maximum(density(units, available), 0.0) ** power if power else jnp.ones(len(scores))
        value = scores * weight
        return Acquired(*best(key, jnp.where(jnp.isnan(value), -jnp.inf, value), available, batch_size))

    return alongside(as_score(score), extra, select)
