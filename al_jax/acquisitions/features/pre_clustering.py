"""Pre-clustering: uncertain rows of dense regions, by a mixture of Gaussians around representatives."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.features.k_medoids import medoids
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import features, mean_probabilities, summarised
from al_jax.acquisitions.toolbox.similarities import centred, squared_distances
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

STEPS = 30  # of expectation maximisation


class Mixture(NamedTuple):
    """log p(x) of n rows, and log p(k | x) of c components."""

    density: Float[Array, " n"]
    responsibilities: Float[Array, "n c"]


@memoised
def pre_clustering(clusters: int = 50, std: float | None = None) -> Acquisition:
    """Rows of the largest expected error times density, cluster by cluster (Nguyen & Smeulders 2004, sec. 3).

    p(x) = sum_k p(k) N(x; c_k, std^2 I) around k-medoids c_k of the available rows' features, p(k) by EM, and
    p(y | x) = sum_k p(y | k) p(k | x). A row's score is log[(1 - max_y p(y | x)) p(x)]: for two classes the paper's
    E[(y' - y)^2 | x] p(x), up to a constant. The best row of every cluster comes first, in the order of scores, then
    the second best, so that a batch does not label a cluster twice before others. `std` is by default the root mean
    square of how far rows are from their medoid, a dimension.

    Departures: p(y | k) is the network's prediction at c_k, where the paper fits a logistic regression to labelled
    rows; the number of clusters stays, where the paper refines them; the paper chooses row by row. In many dimensions
    p(x) differs so much between rows that it decides alone. Cost: k-medoids, O(N^2 D); memory [N, clusters]. ValueError
    for less than 1 cluster, a std that is not positive, and when the network names no features.
    """
    if clusters < 1:
        raise ValueError(f"clusters={clusters}: expected at least 1")
    if std is not None and not 0 < std < float("inf"):
        raise ValueError(f"std={std}: expected a positive, finite number, or None")

    def both(predictions: Any) -> tuple[Array, Array]:
        return features(predictions)[0], mean_probabilities(predictions)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, p, free) = shuffled(key, (*summary, available))
        (rows,), _ = centred((rows,), (rows,))
        representatives = medoids(rows, free, min(clusters, len(rows)))
        used = jnp.arange(len(representatives)) < free.sum()
        found = mixture(rows, rows[representatives], free, used, std)
        classes = jnp.matmul(jnp.exp(found.responsibilities), p[representatives], precision="highest")
        error = jnp.maximum(1.0 - classes.max(axis=1), jnp.finfo(rows.dtype).tiny)
        scores = jnp.where(free, jnp.log(error) + found.density, -jnp.inf)
        best_first = jnp.argsort(-scores, stable=True)
        cluster = jnp.argmax(found.responsibilities, axis=1)[best_first]
        turn = jnp.zeros(len(rows), jnp.int32).at[best_first].set(places_in_group(cluster))
        chosen = jnp.lexsort((-scores, turn, ~free))[:batch_size]
        return Acquired(order[chosen], scores[chosen])

    return Acquisition(summarised(both), select)


def mixture(rows: Array, centres: Array, counted: Array, used: Array, std: float | None) -> Mixture:
    """The mixture of equal, isotropic Gaussians at the used centres whose weights fit the counted rows."""
    width = rows.shape[1]
    squared = jnp.where(used, squared_distances((rows,), (centres,)), jnp.inf)  # [n, c]
    to_nearest = jnp.where(counted, squared.min(axis=1), 0.0)
    spread = to_nearest.sum() / (jnp.maximum(counted.sum(), 1) * width)
    variance = jnp.where(spread > 0, spread, 1.0) if std is None else std**2
    logs = -squared / (2.0 * variance) - 0.5 * width * jnp.log(2.0 * jnp.pi * variance)

    def step(weights: Array, _: None) -> tuple[Array, None]:
        shares = jnp.where(counted[:, None], jax.nn.softmax(logs + weights, axis=1), 0.0)
        return jnp.log(shares.sum(axis=0)) - jnp.log(jnp.maximum(counted.sum(), 1)), None

    start = jnp.where(used, -jnp.log(jnp.maximum(used.sum(), 1)), -jnp.inf)
    weights, _ = jax.lax.scan(step, start, None, length=STEPS)
    joint = logs + weights
    return Mixture(jax.nn.logsumexp(joint, axis=1), jax.nn.log_softmax(joint, axis=1))


def places_in_group(groups: Array) -> Array:
    """How many of the same group are before each of n."""
    order = jnp.argsort(groups, stable=True)
    ranked = groups[order]
    first = jnp.searchsorted(ranked, ranked)
    return jnp.zeros(len(groups), jnp.int32).at[order].set(jnp.arange(len(groups)) - first)
