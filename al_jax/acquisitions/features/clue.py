"""CLUE: clusters of the pool, weighted by uncertainty."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.features.k_means import centres
from al_jax.acquisitions.scores import entropy
from al_jax.acquisitions.toolbox.representations import features_and, summarised
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def clue(temperature: float = 1.0) -> Acquisition:
    """Cluster features weighted by predictive entropy, and take the row nearest each centre (Prabhu et al. 2021).

    Probabilities are those of the mean over draws, raised to 1 / temperature and normalised, before the entropy is
    taken. `Acquired.scores` are minus the distances to the centres. Where all predictions are certain all rows weigh
    the same. Cost as of `k_means`. ValueError unless temperature > 0, and when the network names no features.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: expected a positive, finite number")

    def heated(log_probs: Array) -> Array:
        mean = jax.nn.logsumexp(log_probs, axis=-2, keepdims=True)
        return entropy(jax.nn.log_softmax(mean / temperature))

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        rows, weights = summary
        weights = jnp.where(available, jnp.maximum(weights, 1e-6), 0.0)
        return centres(key, rows, weights, available, batch_size)

    return Acquisition(summarised(features_and(heated)), select)
