"""Quality of predictive distributions, `[n, C]` log-probabilities against integer labels `[n]`."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


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
