"""Quality of predictive distributions: `[n, C]` log-probabilities against integer labels `[n]`, or Gaussians."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from al_jax.information import log_mean_exp


def accuracy(log_p: Float[Array, "*n C"], labels: Int[Array, "*n"]) -> Float[Array, ""]:
    """Share of rows whose most probable class is the label."""
    return jnp.mean(jnp.argmax(log_p, axis=-1) == labels, dtype=log_p.dtype)


def nll(log_p: Float[Array, "*n C"], labels: Int[Array, "*n"]) -> Float[Array, ""]:
    """Mean negative log-likelihood in nats; +inf when a label was given probability 0."""
    return -jnp.mean(jnp.take_along_axis(log_p, labels[..., None], axis=-1))


def brier(log_p: Float[Array, "*n C"], labels: Int[Array, "*n"]) -> Float[Array, ""]:
    """Mean of sum_c (p_c - 1[c = label])^2, in [0, 2] (Brier 1950)."""
    target = labels[..., None] == jnp.arange(log_p.shape[-1])
    return jnp.mean(jnp.sum((jnp.exp(log_p) - target) ** 2, axis=-1))


def ece(log_p: Float[Array, "*n C"], labels: Int[Array, "*n"], num_bins: int = 15) -> Float[Array, ""]:
    """Expected calibration error, sum_b n_b/n |accuracy_b - confidence_b|, equal-width bins (Guo et al. 2017, eq. 3).

    Bin b holds the rows whose confidence (highest probability) lies in (b/num_bins, (b+1)/num_bins].
    """
    confidence = jnp.exp(jnp.max(log_p, axis=-1)).ravel()
    correct = (jnp.argmax(log_p, axis=-1) == labels).ravel()
    which = jnp.clip(jnp.ceil(confidence * num_bins).astype(jnp.int32) - 1, 0, num_bins - 1)
    gaps = jnp.zeros(num_bins, log_p.dtype).at[which].add(correct - confidence)
    return jnp.sum(jnp.abs(gaps)) / confidence.size


def normal_log_density(
    labels: Float[Array, "*n"], mean: Float[Array, "*n"], variance: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """log N(label; mean, variance) in nats."""
    return -0.5 * (jnp.square(labels - mean) / variance + jnp.log(2 * np.pi * variance))


def rmse(mean: Float[Array, "n K"], labels: Float[Array, " n"]) -> Float[Array, ""]:
    """Root of the mean squared error of the mean over samples, in the labels' units."""
    return jnp.sqrt(jnp.mean(jnp.square(jnp.mean(mean, axis=-1) - labels)))


def mixture_nll(mean: Float[Array, "n K"], variance: Float[Array, "n K"], labels: Float[Array, " n"]) -> Array:
    """Mean negative log density of the labels in nats under the mixture over samples (Gal & Ghahramani 2016)."""
    return -jnp.mean(log_mean_exp(normal_log_density(labels[:, None], mean, variance), axis=-1))


def coverage(mean: Float[Array, "n K"], variance: Float[Array, "n K"], labels: Float[Array, " n"]) -> Array:
    """Share of labels in the central 95 % interval of the normal with the mixture's mean and variance."""
    deviation = jnp.sqrt(jnp.mean(variance, axis=-1) + jnp.var(mean, axis=-1))
    return jnp.mean(jnp.abs(labels - jnp.mean(mean, axis=-1)) <= 1.959964 * deviation, dtype=mean.dtype)


def joint_nll(log_likelihoods: Float[Array, "*m tau K"]) -> Float[Array, ""]:
    """Mean of -log mean_k prod_i p_k(y_i | x_i): the negative log-likelihood of tau labels together, in nats a batch.

    `log_likelihoods[..., i, k]` is log p_k(y_i | x_i), for classes `log_probs[rows, :, labels]`. It sees whether the
    samples agree on which functions are likely, and marginal predictions do not (Wang et al. 2021; Osband et al. 2022).
    tau = 1 is `nll` of the mean over samples.
    """
    return -jnp.mean(log_mean_exp(jnp.sum(log_likelihoods, axis=-2), axis=-1))
