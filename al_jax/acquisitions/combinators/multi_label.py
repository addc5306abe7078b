"""Scores of rows that have several labels each."""

from typing import Literal

from jaxtyping import Array, Float

from al_jax.acquisitions.combinators.aggregate import aggregate
from al_jax.memo import memoised
from al_jax.types import GaussianPredictions, ScoreFn


@memoised
def multi_label(score: ScoreFn, by: Literal["sum", "mean", "max"] = "sum") -> ScoreFn:
    """A score of rows with L yes-or-no labels: the sum, mean or largest of the score of every label (Brinker 2006).

    `log_probs [n, L, K, 2] -> [n]`, each label with its own two log-probabilities: from logits z,
    `stack([log_sigmoid(-z), log_sigmoid(z)], -1)`. `multi_label(entropy)` is the sum of binary entropies, an upper
    bound of the joint entropy, exact where labels are independent. Of `[n, K, C]`, one label a row, it is the score
    itself. A score again; alone it stands for `top_k` of it. ValueError for another `by`, and for labels that do not
    have two classes.
    """
    of_labels = aggregate(score, by)

    def scored(log_probs: Float[Array, "n *L K C"]) -> Float[Array, " n"]:
        if not isinstance(log_probs, GaussianPredictions) and log_probs.ndim > 3 and log_probs.shape[-1] != 2:
            raise ValueError(f"log_probs has shape {log_probs.shape}: multi_label expects [n, L, K, 2]")
        return of_labels(log_probs)

    scored.__name__ = f"multi_label({getattr(score, '__name__', score)}, {by!r})"
    return scored
