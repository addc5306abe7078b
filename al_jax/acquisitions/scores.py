"""Pointwise scores: `log_probs [..., K, C] -> [...]`, in nats where they are informations; higher means label sooner.

Each is written for the log-probabilities of K posterior samples over C classes and keeps all leading axes, so one
definition serves a row, a pool, a batch of seeds and the pixels of an image. Probabilities of exactly 0 are legal.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax import information
from al_jax.acquisitions.regression import gaussian_bald
from al_jax.types import GaussianPredictions


def entropy(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """Max entropy: H[E_w p(y|x, w)] in nats (Shannon 1948; Settles 2009)."""
    return information.entropy(information.log_marginal(log_probs))


def least_confidence(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """1 - max_c E_w p(c|x, w) (Lewis & Gale 1994; Settles 2009)."""
    return 1.0 - jnp.exp(jnp.max(information.log_marginal(log_probs), axis=-1))


def margin(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """-(p_1 - p_2), the two most probable classes of the mean prediction, in [-1, 0] (Scheffer et al. 2001, "BvSB").

    With a single class there is no second one and its probability counts as 0.
    """
    probs = jnp.sort(jnp.exp(information.log_marginal(log_probs)), axis=-1)
    second = probs[..., -2] if probs.shape[-1] > 1 else 0.0
    return second - probs[..., -1]


def bald(log_probs: Float[Array, "*n K C"] | GaussianPredictions) -> Float[Array, "*n"]:
    """I(y; w | x) = H[E_w p] - E_w H[p] in nats, in [0, min(log K, log C)] (Houlsby et al. 2011, eq. 2).

    Of a regression's `GaussianPredictions` it is `regression.gaussian_bald`.
    """
    if isinstance(log_probs, GaussianPredictions):
        return gaussian_bald(log_probs)
    return information.mutual_information(log_probs)


mean_kl = bald
"""mean_k KL(p_k || mean_j p_j), the disagreement of McCallum & Nigam 1998: exactly `bald`."""


def mean_std(log_probs: Float[Array, "*n K C"], ddof: int = 0) -> Float[Array, "*n"]:
    """mean_c of the standard deviation over samples of p(c|x, w) (Kampffmeyer et al. 2016; Gal et al. 2017).

    Gal's definition, sqrt(E[p^2] - E[p]^2), is `ddof=0`; PyTorch's and pandas' `std` are `ddof=1`.
    ValueError when K <= ddof, where the deviation is undefined.
    """
    num_samples = log_probs.shape[-2]
    if num_samples <= ddof:
        raise ValueError(f"ddof={ddof} needs more than {ddof} posterior samples; log_probs has K={num_samples}")
    variance = jnp.var(jnp.exp(log_probs), axis=-2, ddof=ddof)
    # The square root has no gradient at 0, and certain predictions are common. Equal ones have a mean that is rounded.
    varies = variance > information.ROUNDING**2
    return jnp.mean(jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1.0)), 0.0), axis=-1)


def votes(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n C"]:
    """Share of the K samples that vote for each class; a sample whose best classes tie splits its vote among them."""
    # A compiler that computed `log_probs` a second time for the maximum could find no class that equals it.
    log_probs = jax.lax.optimization_barrier(log_probs)
    best = log_probs == jnp.max(log_probs, axis=-1, keepdims=True)
    return jnp.mean(best / jnp.sum(best, axis=-1, keepdims=True), axis=-2, dtype=log_probs.dtype)


def variation_ratio(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """1 - (votes for the modal class)/K (Freeman 1965; Gal 2016): hard votes.

    Of the mean prediction, 1 - max_c E_w p(c|x, w) is exactly `least_confidence`.
    """
    return 1.0 - jnp.max(votes(log_probs), axis=-1)


def vote_entropy(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """Entropy of the K hard votes in nats (Dagan & Engelson 1995)."""
    return information.entropy(jnp.log(votes(log_probs)))
