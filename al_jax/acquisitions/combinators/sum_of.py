"""A weighted sum of scores that were brought to one unit."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.combinators.parts import as_score, joined
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn

ROUNDING = 1e-6
"""Of the largest score: a deviation below it is rounding, and the score is the same for all rows."""


def standardised(scores: Float[Array, " n"], available: Bool[Array, " n"]) -> Float[Array, " n"]:
    """(score - mean) / deviation over the available rows of finite score; 0 where all are equal, up to rounding."""
    counted = available & jnp.isfinite(scores)
    number = jnp.maximum(jnp.sum(counted), 1)
    mean = jnp.sum(jnp.where(counted, scores, 0.0)) / number
    centred = scores - mean
    deviation = jnp.sqrt(jnp.sum(jnp.where(counted, centred, 0.0) ** 2) / number)
    varies = deviation > ROUNDING * jnp.max(jnp.where(counted, jnp.abs(scores), 0.0), initial=0.0)
    return jnp.where(varies | ~jnp.isfinite(scores), centred / jnp.where(varies, deviation, 1.0), 0.0)


@memoised
def sum_of(*scores: ScoreFn | Acquisition, weights: tuple[float, ...] | None = None) -> Acquisition:
    """The B rows with the largest sum_i weight_i (s_i - mean s_i) / deviation s_i, over several scores s_i.

    Mean and deviation are over the available rows, every round anew, so that units do not matter; a score that is the
    same for all of them counts as 0. Weights are 1 by default and may be negative: label what scores low. A score of
    -inf stays -inf. A part is a score, or a method of one score a row (`epig`, `egl`). Memory: a float a row and score;
    cost: that of the scores. ValueError for no score, for weights that are not finite or not as many, for a part that
    chooses whole batches, and for parts with different shortlists.
    """
    parts = tuple(map(as_score, scores))
    if not parts:
        raise ValueError("scores: expected at least one")
    factors = (1.0,) * len(parts) if weights is None else weights
    if len(factors) != len(parts) or not all(map(math.isfinite, factors)):
        raise ValueError(f"weights={weights}: expected {len(parts)} finite numbers, one for every score")

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        terms = [
            factor * standardised(part, available) for factor, part in zip(factors, summary, strict=True) if factor
        ]
        total = sum(terms, jnp.zeros(len(available)))
        return Acquired(*best(key, jnp.where(jnp.isnan(total), -jnp.inf, total), available, batch_size))

    return joined(parts, select)
