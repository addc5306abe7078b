"""Scores of images from scores of their pixels."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.types import ScoreFn

REDUCTIONS: dict[str, Callable[..., Array]] = {"mean": jnp.mean, "max": jnp.max, "sum": jnp.sum}


@memoised
def aggregate(score: ScoreFn, by: Literal["mean", "max", "sum"] = "mean") -> ScoreFn:
    """A score of rows that are predicted densely: the mean, largest or sum of the scores of all their pixels.

    `log_probs [n, H, W, K, C] -> [n]`, or any other axes between rows and samples; of `[n, K, C]` it is the score
    itself. In the score's unit. A score again, so it can be prefiltered, summed and so on; alone it stands for `top_k`
    of it. No pixel is masked. Memory: one float a pixel of a chunk. ValueError for another `by`.
    """
    if by not in REDUCTIONS:
        raise ValueError(f"by={by!r}: expected 'mean', 'max' or 'sum'")

    def aggregated(log_probs: Float[Array, "n *pixels K C"]) -> Float[Array, " n"]:
        values = score(log_probs)
        return REDUCTIONS[by](values, axis=tuple(range(1, values.ndim)))

    aggregated.__name__ = f"aggregate({getattr(score, '__name__', score)}, {by!r})"
    return aggregated
