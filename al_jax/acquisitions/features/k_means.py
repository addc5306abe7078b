"""The rows nearest the centres of a clustering."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from al_jax.acquisitions.toolbox.kmeans import kmeans, nearest_to_centres
from al_jax.acquisitions.toolbox.representations import Factors, Name, named, summarised
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def k_means(representation: Name = "features") -> Acquisition:
    """Cluster the available rows, and take the row nearest each centre (a baseline of Sener & Savarese 2018).

    Lloyd's algorithm from a k-means++ start; labelled rows play no part. `Acquired.scores` are minus the distances to
    the centres. O(N D B) an iteration, 25 at most. Fewer different rows than B: the rest are nearest rows, too.
    ValueError for "gradients", which are no vectors here, and when the network names no features.
    """
    of = vectors(representation)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        (rows,) = summary
        return centres(key, rows, available.astype(rows.dtype), available, batch_size)

    return Acquisition(summarised(of), select)


def vectors(representation: Name) -> Callable[[Any], Factors]:
    """The representation of this name; ValueError for "gradients", which are no vectors."""
    if representation == "gradients":
        raise ValueError("representation='gradients': expected 'features', 'probabilities' or 'draws'")
    return named(representation)


def centres(key: PRNGKey, rows: Array, weights: Array, available: Array, batch_size: int) -> Acquired:
    """The available rows nearest the centres of `batch_size` clusters of the rows with weight."""
    clusters = kmeans(key, rows, weights, batch_size)
    picked = nearest_to_centres(rows, clusters, available, batch_size)
    return Acquired(picked.positions, picked.values)
