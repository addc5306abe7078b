"""Information-theoretic quantities in nats, computed from log-probabilities in log space."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ROUNDING = 1e-6
"""Nats: what float32 leaves of the difference of two equal entropies is smaller."""


def log_mean_exp(log_probs: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """`log mean exp` over one axis; -inf (probability 0) is legal, in the value and in the gradient."""
    # Selections are made after the sum: a CPU's vectors pass over [..., K, C] six times as fast without any.
    top = jax.lax.stop_gradient(jnp.max(log_probs, axis=axis))
    top = jnp.where(top > -jnp.inf, top, 0.0)
    mean = jnp.mean(jnp.exp(log_probs - jnp.expand_dims(top, axis)), axis=axis)
    return jnp.where(mean > 0, jnp.log(jnp.where(mean > 0, mean, 1.0)) + top, -jnp.inf)


def log_marginal(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n C"]:
    """log p(y|x) = log E_w p(y|x, w): the mean over posterior samples."""
    return log_mean_exp(log_probs, axis=-2)


def entropy(log_p: Float[Array, "*n C"]) -> Float[Array, "*n"]:
    """H[p] = -sum_c p_c log p_c in nats, `[..., C] -> [...]`, with 0 log 0 = 0 in the value and in the gradient."""
    finite = jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)  # its exponential is 0, and so is their product
    return -jnp.sum(jnp.exp(finite) * finite, axis=-1)


def mutual_information(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """I(y; w | x) = H[E_w p] - E_w H[p] in nats, `[..., K, C] -> [...]`.

    It lies in [0, min(log K, log C)]; float32 leaves that interval by some 5e-7, hence the clip. What is less than
    `ROUNDING` is 0: samples that agree give rows the same value.
    """
    num_samples, num_classes = log_probs.shape[-2:]
    information = entropy(log_marginal(log_probs)) - jnp.mean(entropy(log_probs), axis=-1)
    return jnp.clip(without_rounding(information), 0.0, jnp.log(min(num_samples, num_classes)))


def without_rounding(values: Float[Array, "..."], size: float = ROUNDING) -> Float[Array, "..."]:
    """The values, and 0 for those within `size` of 0: differences of equal numbers, so that rows tie."""
    return jnp.where(jnp.abs(values) < size, 0.0, values)


def joint_entropy(log_probs: Float[Array, "B K C"]) -> Float[Array, ""]:
    """H(y_1..y_B) in nats of B rows whose labels are independent given a sample: exact, over all C^B configurations.

    Memory is C^B K floats: for small B. `joint_mutual_information` subtracts the conditional entropies.
    """
    num_samples = log_probs.shape[1]
    joint = jnp.zeros((1, num_samples))
    for row in log_probs:
        joint = (joint[:, None, :] + row.T).reshape(-1, num_samples)
    return entropy(log_mean_exp(joint, axis=1))


def joint_mutual_information(log_probs: Float[Array, "B K C"]) -> Float[Array, ""]:
    """I(y_1..y_B; w) = H(y_1..y_B) - sum_i E_w H(y_i | w) in nats, exact (Kirsch et al. 2019)."""
    return joint_entropy(log_probs) - jnp.sum(jnp.mean(entropy(log_probs), axis=1))
