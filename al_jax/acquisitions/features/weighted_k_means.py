"""Diverse mini-batches: uncertain rows, clustered by features."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.features.k_means import centres
from al_jax.acquisitions.scores import margin
from al_jax.acquisitions.toolbox.representations import features_and, summarised
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


@memoised
def weighted_k_means(score: ScoreFn = margin, factor: int = 10) -> Acquisition:
    """Cluster the `factor` B most uncertain rows by weight; take the nearest to each centre (Zhdanov 2019, sec. 3.2).

    The paper's uncertainty, and weight, is 1 minus the gap between the two largest probabilities: what `margin` stands
    for here. Another score is the weight itself, and one below 1e-6 counts as that.
    `Acquired.scores` are minus the distances to the centres. Cost as of `k_means`, on factor B rows. ValueError when
    factor < 1 or the network names no features.
    """
    if factor < 1:
        raise ValueError(f"factor={factor}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        rows, scores = summary
        best_key, cluster_key = jax.random.split(key)
        chosen, _ = best(best_key, scores, available, min(factor * batch_size, len(scores)))
        weights = jnp.where(available[chosen], jnp.maximum(scores[chosen], 1e-6), 0.0)
        found = centres(cluster_key, rows[chosen], weights, available[chosen], batch_size)
        return found._replace(indices=chosen[found.indices])

    return Acquisition(summarised(features_and(uncertainty(score))), select)


def uncertainty(score: ScoreFn) -> ScoreFn:
    """`margin` is minus the gap: 1 minus the gap is Zhdanov's uncertainty. Other scores are what they are."""
    return (lambda log_probs: 1.0 + margin(log_probs)) if score is margin else score
