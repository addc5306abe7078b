"""Scores of a regression, `GaussianPredictions -> [n]`, in closed form: higher means label sooner, in nats if named so.

The mixture over samples is taken for the Gaussian of its mean and covariance. That is exact where the posterior of the
function's values is Gaussian (Bayesian linear regression, Gaussian processes, a last layer by Laplace) but for the
error of moments estimated from K samples; elsewhere it is an upper bound of the entropy of a label.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.information import without_rounding
from al_jax.types import GaussianPredictions


def variance(predictions: GaussianPredictions) -> Float[Array, " n"]:
    """Variance of the label, noise and function together: E_w s^2 + Var_w m (MacKay 1992; Cohn et al. 1996)."""
    return jnp.mean(predictions.variance, axis=-1) + jnp.var(predictions.mean, axis=-1)


def gaussian_bald(predictions: GaussianPredictions) -> Float[Array, " n"]:
    """I(y; w | x) = 1/2 log(variance of the label) - 1/2 E_w log s^2 in nats, 0 or more (Houlsby et al. 2011).

    With equal noise everywhere it ranks rows as `variance` does. Zero for K = 1.
    """
    noise = jnp.mean(jnp.log(predictions.variance), axis=-1)
    return jnp.maximum(without_rounding(0.5 * (jnp.log(variance(predictions)) - noise)), 0.0)


def covariances(predictions: GaussianPredictions, targets: GaussianPredictions) -> Float[Array, "n T"]:
    """Cov_w of the means of every row and target; ValueError unless pool and targets have as many samples."""
    if predictions.mean.shape[-1] != targets.mean.shape[-1]:
        raise ValueError(
            f"targets have K={targets.mean.shape[-1]} samples: expected {predictions.mean.shape[-1]}, those of the pool"
        )
    here, there = (p.mean - jnp.mean(p.mean, axis=-1, keepdims=True) for p in (predictions, targets))
    return jnp.matmul(here, there.T, precision="highest") / here.shape[-1]


def gaussian_information_gain(predictions: GaussianPredictions, targets: GaussianPredictions) -> Float[Array, " n"]:
    """EPIG, E_{x*} I(y; y* | x, x*) = -1/2 log(1 - r^2) in nats, r the correlation of y and y* over w.

    Of a jointly Gaussian pair (Bickford Smith et al. 2023). For `epig(targets, gain=gaussian_information_gain)`.
    ValueError unless pool and targets have as many samples.
    """
    squared = jnp.square(covariances(predictions, targets)) / (variance(predictions)[:, None] * variance(targets))
    return jnp.mean(-0.5 * jnp.log1p(-jnp.minimum(squared, 1.0)), axis=-1)
