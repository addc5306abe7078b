"""The norm of the gradient of a loss that needs no label."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.gradients.egl import feature_norms
from al_jax.acquisitions.toolbox.reading import features_of, marginal_of
from al_jax.acquisitions.top_k import select_best
from al_jax.information import entropy
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs, Round


def entropy_gradient(log_p: Float[Array, "n C"]) -> Float[Array, "n C"]:
    """The gradient of the entropy H[softmax z] in the logits z: -p_c (log p_c + H); 0 where p_c = 0."""
    p = jnp.exp(log_p)
    finite = jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)
    return -jnp.where(p > 0, p * (finite + entropy(log_p)[..., None]), 0.0)


@memoised
def gradient_norm(kind: Literal["expected", "entropy"] = "expected", bias: bool = False) -> Acquisition:
    """The rows with the longest gradient of a loss that stands for the unknown one (Wang et al. 2022).

    The loss is the expected one, sum_c p_c (-log p_c) ("expected"), or the entropy ("entropy"). With cross-entropy the
    two are one function, and both kinds give the same scores: the weights p_c are differentiated too, as in published
    code; were they constants, the expected gradient would be 0. For the mean of the norms in place of the norm of the
    mean, take `egl`.

    Of the last linear layer's weights alone the norm is |p (log p + H)| |h|: closed form, with p the mean over samples
    and h the features of the deterministic network. `bias=True` counts the layer's bias as well. 0 where p is certain
    or uniform, for the entropy is flat there, and where h is 0. Cost and memory: O(C + D) a row of a chunk, one float a
    row of the pool.

    Departures: the authors sum the norms of all layers' gradients. ValueError for another kind, and when the network
    names no features.
    """
    if kind not in ("expected", "entropy"):
        raise ValueError(f"kind={kind!r}: expected 'expected' or 'entropy'")

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        predictions = round.functions(x)
        features = features_of(predictions, "gradient_norm")
        gradient = entropy_gradient(marginal_of(predictions, "gradient_norm"))
        return jnp.sqrt(jnp.sum(gradient**2, axis=-1)) * feature_norms(features, bias)

    return Acquisition(summarise, select_best)
