"""Lifts a pointwise score to an acquisition: the B best rows, exactly or with Gumbel noise."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.scores import margin
from al_jax.information import ROUNDING
from al_jax.memo import memoised
from al_jax.pool import best, scored
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round, ScoreFn

CONSTANT = (
    "all rows have one score, so that this method chooses at random: the posterior's samples agree on every row (there "
    "is one sample, or its members collapsed), or the score cannot tell the rows apart"
)
"""What is said where `is_constant`."""


def pointwise(score: ScoreFn) -> Callable[[Round, Inputs, Array], Array]:
    """The `summarise` of a score: one float per row, so that a pool of any size streams in constant memory."""

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        return scored(score, round.functions(x).samples)

    return summarise


@memoised
def top_k(score: ScoreFn) -> Acquisition:
    """Acquire the B rows with the highest `score(log_probs [..., K, C]) -> [...]`; ties are broken at random."""
    return Acquisition(pointwise(score), select_best)


def select_best(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
    """The `select` of a summary that is one score a row; `info` has `is_constant` of the scores."""
    constant = is_constant(summary, available)
    chosen, _ = best(key, jnp.where(constant, 0.0, summary), available, batch_size)
    return Acquired(chosen, _told(summary, available, chosen), {"constant": constant})


def select_any(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
    """The `select` of a summary that is the same for every row, and meant to be."""
    return Acquired(*best(key, summary, available, batch_size))


def has_one_score(acquisition: Acquisition) -> bool:
    """Whether all that the acquisition makes of a row is one score, of which the highest are chosen."""
    return acquisition.select in (select_best, select_any)


def is_constant(scores: Float[Array, " n"], available: Bool[Array, " n"]) -> Bool[Array, ""]:
    """Whether two or more available rows all have one score, to 1e-6 of it: then the key alone chooses."""
    low, high = jnp.min(scores, where=available, initial=jnp.inf), jnp.max(scores, where=available, initial=-jnp.inf)
    same = (low == high) | (high - low <= ROUNDING * jnp.maximum(jnp.abs(low), jnp.abs(high)))
    return same & (available.sum() > 1)


def _told(scores: Float[Array, " n"], available: Bool[Array, " n"], chosen: Int[Array, " B"]) -> Float[Array, " B"]:
    return jnp.where(available[chosen], scores[chosen], -jnp.inf)


@memoised
def stochastic_top_k(
    score: ScoreFn, kind: Literal["power", "softmax", "softrank"] = "power", coldness: float = 1.0
) -> Acquisition:
    """Sample B rows without replacement by Gumbel top-k (Kirsch et al. 2023, "Stochastic Batch Acquisition").

    Row i is drawn with probability proportional to s_i^coldness ("power"; scores must not be negative, those below 0
    count as 0), exp(coldness * s_i) ("softmax"), or rank_i^-coldness ("softrank", the best row has rank 1).
    `Acquired.scores` are the unperturbed scores. ValueError for an unknown kind or a coldness that is negative or not
    finite.
    """
    if kind not in ("power", "softmax", "softrank"):
        raise ValueError(f"kind={kind!r}: expected 'power', 'softmax' or 'softrank'")
    if kind == "power" and score is margin:
        raise ValueError("kind='power': expected 'softmax' or 'softrank', since margin is never above 0")
    if not 0 <= coldness < float("inf"):
        raise ValueError(f"coldness={coldness}: expected 0 or more, and finite")

    def log_weights(key: PRNGKey, scores: Array, available: Array) -> Array:
        if coldness == 0:  # uniform, also where the logarithm is -inf
            return jnp.zeros_like(scores)
        if kind == "power":
            return coldness * jnp.log(jnp.maximum(scores, 0.0))
        if kind == "softmax":
            return coldness * scores
        order, _ = best(key, scores, available, len(scores))
        ranks = jnp.zeros(len(scores)).at[order].set(jnp.arange(1, len(scores) + 1, dtype=jnp.float32))
        return -coldness * jnp.log(ranks)

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        rank_key, gumbel_key, tie_key = jax.random.split(key, 3)
        weights = log_weights(rank_key, summary, available)
        perturbed = weights + jax.random.gumbel(gumbel_key, summary.shape)
        chosen, _ = best(tie_key, perturbed, available, batch_size)
        return Acquired(chosen, _told(summary, available, chosen), {"constant": is_constant(summary, available)})

    return Acquisition(pointwise(score), select)
