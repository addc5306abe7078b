"""Rows that are themselves the centres of clusters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.features.k_means import vectors
from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.kmeans import ITERATIONS, Clusters, nearest_to_centres
from al_jax.acquisitions.toolbox.representations import Name, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest, squared_norms
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def k_medoids(representation: Name = "features") -> Acquisition:
    """B rows such that every available row is near one of them: centres of clusters that are rows themselves.

    Rows are added greedily, each that which most lowers the sum of squared distances to the nearest chosen row (Krause
    & Gomes 2010; the BUILD phase of Kaufman & Rousseeuw 1987). Then each row goes to its nearest medoid, and the member
    nearest to a cluster's mean becomes its medoid, until none changes. For squared Euclidean distances that member is
    exactly the medoid (Park & Jun 2009). A baseline of Sener & Savarese 2018. `Acquired.scores` are 0, and minus the
    distance to a medoid where rows are equal. Cost: O(N^2 D) for the first pick, as of `max_herding`; memory: the rows.
    Errors as of `k_means`.
    """
    of = vectors(representation)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        (rows,), _ = centred(rows, rows)
        found = medoids(rows, free, batch_size)
        used = jnp.arange(batch_size) < free.sum()
        clusters = Clusters(rows[found], jnp.zeros(len(rows), jnp.int32), jnp.zeros(len(rows)), used)
        picked = nearest_to_centres(rows, clusters, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(of), select)


def medoids(rows: Float[Array, "n D"], counted: Bool[Array, " n"], num_clusters: int) -> Int[Array, " c"]:
    """Rows of which each is the member of its cluster nearest to the cluster's mean; only `counted` rows count."""
    n, weight = len(rows), counted.astype(rows.dtype)
    limit = 4.0 * jnp.max(squared_norms((rows,)))  # no squared distance is above it
    start = facility_location((rows,), weight, jnp.zeros(n), lambda d: limit - d, counted, num_clusters).positions

    def going(state: tuple[Array, Array, Array]) -> Array:
        return (state[0] < ITERATIONS) & state[2]

    def moved(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        step, chosen, _ = state
        _, owner = nearest((rows,), (rows[chosen],), jnp.ones(num_clusters, bool))
        totals = jax.ops.segment_sum(weight, owner, num_clusters)
        sums = jax.ops.segment_sum(weight[:, None] * rows, owner, num_clusters)
        means = sums / jnp.maximum(totals, 1.0)[:, None]
        apart = jnp.where(counted, jnp.sum(jnp.square(rows - means[owner]), axis=1), jnp.inf)
        # By sorting, so that nothing is compared with a second computation of itself.
        _, _, order = jax.lax.sort((owner, apart, jnp.arange(n)), num_keys=2)
        first = jnp.searchsorted(owner[order], jnp.arange(num_clusters))
        closest = order[jnp.minimum(first, n - 1)]
        after = jnp.where(totals > 0, closest, chosen)
        return step + 1, after, jnp.any(after != chosen)

    begin = jnp.zeros((), jnp.int32), start, jnp.ones((), bool)
    return jax.lax.while_loop(going, moved, begin)[1]
