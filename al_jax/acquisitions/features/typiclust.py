"""TypiClust: typical rows of clusters that hold no label, for the smallest budgets."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.kmeans import kmeans
from al_jax.acquisitions.toolbox.representations import features, known_rows, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import squared_distances
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

MEMBERS = 512
"""Rows of a cluster, those nearest its centre, among which the most typical one is sought."""
SMALL = 5
"""Clusters of so few rows are left to the last, as in the authors' code."""


@memoised
def typiclust(neighbours: int = 20, max_clusters: int = 500) -> Acquisition:
    """The most typical row of the largest cluster with the fewest labels, one after the other (Hacohen et al. 2022).

    k-means of labelled and available rows' features into min(labelled + B, max_clusters) clusters. Typicality is 1 /
    the mean distance to the nearest `neighbours` (at most half of the cluster) rows of the cluster that have no label;
    it is the score. The paper clusters features of a self-supervised network: with those of a network that has seen few
    labels it is another method. Of a cluster of more than 512 rows those nearest its centre count. Clusters of at most
    5 rows come last. Cost: k-means, then O(512^2 D) a pick. Equal rows are infinitely typical, up to 1e5.

    ValueError unless both arguments are at least 1, and when the network names no features.
    """
    for name, value in (("neighbours", neighbours), ("max_clusters", max_clusters)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        order_key, cluster_key = jax.random.split(key)
        order, ((rows,), free) = shuffled(order_key, (summary, available))
        (known,), valid = known_rows(round)
        known = jnp.where(valid[:, None], known, 0.0)
        size = min(max_clusters, len(known) + batch_size)
        weights = jnp.concatenate([free, valid]).astype(rows.dtype)
        used = jnp.minimum(round.data.labelled.count + batch_size, max_clusters)
        clusters = kmeans(cluster_key, jnp.concatenate([rows, known]), weights, size, used)
        assigned, of_known = clusters.assigned[: len(rows)], clusters.assigned[len(rows) :]
        labels = jnp.zeros(size, jnp.int32).at[of_known].add(valid)
        sizes = jnp.zeros(size).at[clusters.assigned].add(weights)

        def values(labels: Array, free: Array) -> Array:
            """Of one row alone: the most typical one of the cluster whose turn it is."""
            left = jnp.zeros(size, jnp.int32).at[assigned].add(free)
            # The fewest labels, then the most rows; small clusters after all others, empty ones never.
            cluster = jnp.lexsort((-sizes, labels, sizes <= SMALL, left == 0))[0]
            members = free & (assigned == cluster)
            near, score = most_typical(rows, members, clusters.squared[: len(rows)], neighbours)
            return jnp.full(len(rows), -jnp.inf).at[near].set(score)

        def updated(labels: Array, row: Array) -> Array:
            return labels.at[assigned[row]].add(1)

        picked = pick_one_by_one(labels, values, updated, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(features), select, of_labelled(features))


def most_typical(
    rows: Float[Array, "n D"], members: Array, to_centre: Float[Array, " n"], neighbours: int
) -> tuple[Array, Array]:
    """The member with the smallest mean distance to its nearest members, and 1 / that distance."""
    size = min(MEMBERS, len(rows))
    negative, places = jax.lax.top_k(jnp.where(members, -to_centre, -jnp.inf), size)
    there = ~jnp.isneginf(negative)
    some = rows[places]
    some = some - jnp.sum(jnp.where(there[:, None], some, 0.0), axis=0) / jnp.maximum(there.sum(), 1)
    squared = squared_distances((some,), (some,))
    others = there[None, :] & ~jnp.eye(size, dtype=bool)
    count = jnp.clip(there.sum() // 2, 1, neighbours)
    nearest = -jax.lax.top_k(jnp.where(others, -jnp.sqrt(squared), -jnp.inf), min(neighbours, size))[0]
    counted = (jnp.arange(nearest.shape[1]) < count) & jnp.isfinite(nearest)
    mean = jnp.sum(jnp.where(counted, nearest, 0.0), axis=1) / jnp.maximum(counted.sum(1), 1)
    typical = jnp.where(there, 1.0 / (mean + 1e-5), -jnp.inf)
    best = jnp.argmax(typical)
    return places[best], typical[best]
