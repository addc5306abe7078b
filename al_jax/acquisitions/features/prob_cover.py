"""ProbCover: as many rows as possible within a radius of a labelled one."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.kmeans import kmeans
from al_jax.acquisitions.toolbox.representations import Factors, features, known_rows, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

SAMPLE = 1000
"""Rows from which the radius is found."""


@memoised
def prob_cover(radius: float | None = None, clusters: int = 10, purity: float = 0.95) -> Acquisition:
    """Greedily cover as many offered rows as possible by balls of one radius (Yehuda et al. 2022, alg. 1).

    What labelled rows cover (distance < radius, between features) is taken away first; `Acquired.scores` are the
    numbers of rows that a pick covers anew. Once all are covered the batch is random.

    Args:
      radius: None takes the largest one for which a share `purity` of all balls is pure: k-means into `clusters` (as
        many as classes) gives pseudo-labels, and a ball is pure when all its rows have that of its centre. That is the
        (1 - purity) quantile of the distances to the nearest row of another pseudo-label, found from 1000 random rows
        in every round, from the round's features; the paper finds it once, from self-supervised ones.

    Cost and memory as of `max_herding`. ValueError for arguments out of range, and when the network names no features.
    """
    if radius is not None and not 0 < radius < float("inf"):
        raise ValueError(f"radius={radius}: expected a positive number or None")
    if clusters < 2 or not 0 < purity < 1:
        raise ValueError(f"clusters={clusters}, purity={purity}: expected at least 2, and between 0 and 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order_key, radius_key = jax.random.split(key)
        order, (rows, free) = shuffled(order_key, (summary, available))
        known, labelled = known_rows(round)
        rows, known = centred(rows, known)
        squared_radius = jnp.square(radius) if radius is not None else pure_radius(radius_key, rows, clusters, purity)

        def kernel(squared: Array) -> Array:
            return (squared < squared_radius).astype(jnp.float32)

        cover = kernel(nearest(rows, known, labelled)[0])
        picked = facility_location(rows, jnp.ones(len(order)), cover, kernel, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(features), select, of_labelled(features))


def pure_radius(key: PRNGKey, rows: Factors, clusters: int, purity: float) -> Float[Array, ""]:
    """The squared radius of `prob_cover`; rows are in a random order."""
    found = kmeans(key, rows[0], jnp.ones(len(rows[0])), min(clusters, len(rows[0])))
    another = found.assigned[:SAMPLE, None] != found.assigned[None, :]
    squared, _ = nearest((rows[0][:SAMPLE],), rows, another)
    squared = jnp.quantile(jnp.where(jnp.isfinite(squared), squared, 1e30), 1.0 - purity)
    return jnp.maximum(squared, 1e-30)
