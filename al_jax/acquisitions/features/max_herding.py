"""MaxHerding: the rows whose kernels cover the pool best."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import Factors, features, known_rows, of_labelled
from al_jax.acquisitions.toolbox.similarities import centred, nearest, squared_distances
from al_jax.memo import memoised
from al_jax.pool import scored
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round, ScoreFn

SAMPLE = 1000
"""Rows from which the bandwidth is found."""


@memoised
def max_herding(bandwidth: float | None = None) -> Acquisition:
    """Greedily maximise sum_u max_s exp(-|u - s|^2 / bandwidth^2) over all offered rows u (Bae et al. 2024, alg. 1).

    s runs over labelled and chosen rows, distances are between features. None takes the median distance between 1000
    random rows for bandwidth. `Acquired.scores` are what a row adds to the sum. Equal rows: a duplicate adds 0. Cost:
    O(N^2 D) for the first pick, of the later ones a few percent each; memory the features. For 60 000 rows of 512
    features that is 4 TFLOP: `prefilter` it, or give a pool subset. ValueError unless bandwidth > 0, and when the
    network names no features.
    """
    return herding(None, bandwidth)


def herding(score: ScoreFn | None, bandwidth: float | None) -> Acquisition:
    """`max_herding`, or with a score `u_herding`; ValueError unless bandwidth is None or positive."""
    if bandwidth is not None and not 0 < bandwidth < float("inf"):
        raise ValueError(f"bandwidth={bandwidth}: expected a positive number or None")

    def summarise(round: Round, x: Inputs, rows: Array) -> Any:
        predictions = round.functions(x)
        weights = jnp.ones(len(rows)) if score is None else jnp.maximum(scored(score, predictions.samples), 0.0)
        return features(predictions), weights

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, ((rows, weights), free) = shuffled(key, (summary, available))
        weights = jnp.where(jnp.any(weights > 0), weights, 1.0)
        known, labelled = known_rows(round)
        rows, known = centred(rows, known)
        squared_bandwidth = jnp.square(bandwidth) if bandwidth is not None else median_squared_distance(rows)

        def kernel(squared: Array) -> Array:
            return jnp.exp(-squared / squared_bandwidth)

        cover = kernel(nearest(rows, known, labelled)[0])
        picked = facility_location(rows, weights, cover, kernel, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarise, select, of_labelled(features))


def median_squared_distance(rows: Factors) -> Float[Array, ""]:
    """The median over pairs of the first 1000 rows, which are in a random order; 1 where it is 0."""
    some = tuple(factor[:SAMPLE] for factor in rows)
    size = len(some[0])
    squared = squared_distances(some, some)[jnp.triu_indices(size, 1)] if size > 1 else jnp.ones(1)
    median = jnp.median(squared)
    return jnp.where(median > 0, median, 1.0)
