"""Cluster-Margin: the smallest margins, spread over clusters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.scores import margin
from al_jax.acquisitions.toolbox.kmeans import kmeans
from al_jax.acquisitions.toolbox.representations import features_and, summarised
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def cluster_margin(clusters: int = 100, factor: int = 10) -> Acquisition:
    """Of the factor B smallest margins, every cluster in turn gives one, small clusters first (Citovsky et al. 2021).

    In each turn every cluster, those with the fewest of these rows first, gives its row of the smallest margin, until B
    are chosen (alg. 2; there it is a random row of the cluster). The paper clusters once, by average linkage of the
    first model's features; here it is k-means of the round's features, over all offered rows. `Acquired.scores` are the
    scores of `margin`. Cost: k-means in O(N D clusters) an iteration. ValueError unless both arguments are at least 1,
    and when the network names no features.
    """
    for name, value in (("clusters", clusters), ("factor", factor)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        rows, scores = summary
        cluster_key, best_key = jax.random.split(key)
        found = kmeans(cluster_key, rows, jnp.ones(len(rows)), min(clusters, len(rows)))
        chosen, told = best(best_key, scores, available, min(factor * batch_size, len(scores)))  # best first
        free, cluster = available[chosen], found.assigned[chosen]
        same = (cluster[:, None] == cluster[None, :]) & free[None, :]
        turn = jnp.sum(jnp.tril(same, -1), axis=1)  # how many of its cluster are before it
        size = jnp.sum(same, axis=1)
        order = jnp.lexsort((cluster, size, turn, ~free))[:batch_size]
        return Acquired(chosen[order], told[order])

    return Acquisition(summarised(features_and(margin)), select)
