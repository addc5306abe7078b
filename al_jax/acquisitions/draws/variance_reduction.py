"""How much a label is expected to lower the variance of what is predicted for target inputs."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.draws.epig import epig
from al_jax.acquisitions.draws.expected_change import squared_change
from al_jax.acquisitions.regression import covariances, variance
from al_jax.memo import memoised
from al_jax.types import Acquisition, GaussianPredictions, Inputs


def variance_reduced(predictions: Any, targets: Any) -> Float[Array, " n"]:
    """E_t cov(m(t), m(x))^2 / (Var_w m(x) + E_w s^2(x)): what a label of x takes from the variance at t.

    Covariances are over the K draws, so that it is exact for a Gaussian posterior as K grows. In squared units of the
    labels. Of classes it is `squared_change`, for the variance sum_j p_j (1 - p_j). ValueError unless pool and targets
    have as many samples.
    """
    if not isinstance(predictions, GaussianPredictions):
        return squared_change(predictions, targets)
    return jnp.mean(jnp.square(covariances(predictions, targets)), axis=-1) / variance(predictions)


@memoised
def variance_reduction(targets: int | Inputs = 200) -> Acquisition:
    """The rows whose label is expected to lower the variance at the targets most (Cohn et al. 1996; ALC, IVR).

    The score is `variance_reduced`, 0 where all draws agree; of classes the method is `core_mse`. Targets, memory and
    errors as of `epig`.
    """
    return epig(targets, variance_reduced)
