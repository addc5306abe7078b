"""EGL: the gradient length that a row's label is expected to bring."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.reading import features_of, marginal_of
from al_jax.acquisitions.top_k import select_best
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs, Round


def feature_norms(features: Float[Array, "n D"], bias: bool) -> Float[Array, " n"]:
    """|h|, or |(h, 1)| where the layer's bias counts as a parameter."""
    return jnp.sqrt(jnp.sum(features**2, axis=-1) + (1.0 if bias else 0.0))


def residual_norms(log_p: Float[Array, "n C"]) -> Float[Array, "n C"]:
    """|p - e_c| of every class c, without the cancellation that 1 - p_c has where p_c is nearly 1."""
    p = jnp.exp(log_p)
    is_top = jnp.argmax(p, axis=-1)[..., None] == jnp.arange(p.shape[-1])
    others = jnp.where(is_top, 0.0, p)
    own = jnp.where(is_top, jnp.sum(others, axis=-1, keepdims=True), 1.0 - p)
    squares = jnp.sum(others**2, axis=-1, keepdims=True)
    rest = jnp.where(is_top, squares, jnp.sum(p**2, axis=-1, keepdims=True) - p**2)
    return jnp.sqrt(own**2 + jnp.maximum(rest, 0.0))


@memoised
def egl(bias: bool = False) -> Acquisition:
    """The rows whose label is expected to bring the longest gradient (Settles & Craven 2008).

    sum_c p_c |grad of -log p(c|x)|, of the last linear layer's weights alone (Huang et al. 2016), where the gradient is
    (p - e_c) h' and its length |p - e_c| |h|: closed form, in nats per unit of weight. p is the mean over samples, h
    the features of the deterministic network. `bias=True` counts the layer's bias as well: |h|^2 + 1. 0 where p is
    certain or h is 0. Cost and memory: O(C + D) a row of a chunk, one float a row of the pool.

    Departures: the papers take the gradient of all parameters of the classifier, for which no closed form exists in a
    deep network. ValueError when the network names no features.
    """

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        predictions = round.functions(x)
        features = features_of(predictions, "egl")
        log_p = marginal_of(predictions, "egl")
        return jnp.sum(jnp.exp(log_p) * residual_norms(log_p), axis=-1) * feature_norms(features, bias)

    return Acquisition(summarise, select_best)
