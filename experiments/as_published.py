"""What published code does otherwise than its text or than this package, for arms that repeat it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from al_jax.posteriors import mc_dropout
from al_jax.training import Training
from al_jax.types import Inputs, Likelihood, Posterior, Predictions


def mean_std_2017(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """`mean_std` as in the scripts of Gal et al. 2017, of one sample K times: 0 for every row, so the batch is random.

    Computed in floating point it is 0 up to rounding; here it is exactly 0.
    """
    return jnp.zeros(log_probs.shape[:-2], log_probs.dtype)


def mc_dropout_fresh_masks(module: nn.Module, likelihood: Likelihood, training: Training) -> Posterior:
    """`mc_dropout` with masks of its own for every row in every draw, as Keras draws them and most PyTorch code.

    Of one row it says the same as `mc_dropout`, of several not: they are independent given the draw, so that the joint
    entropies of BatchBALD and EPIG are wrong. A draw is still one function: its masks follow from the draw's key and
    the bits of the row (32 bits of them), and equal rows have equal masks. Args and errors as for `mc_dropout`.
    """
    consistent = mc_dropout(module, likelihood, training)

    def predict(state: Any, draws: Any, x: Inputs) -> Predictions:
        def of_row(row: Inputs) -> Predictions:
            own = jax.vmap(jax.random.fold_in, (0, None))(draws, hashed(row))
            predictions = consistent.predict(state, own, jax.tree.map(lambda leaf: leaf[None], row))
            return jax.tree.map(lambda leaf: leaf[0], predictions)

        return jax.vmap(of_row)(x)

    return consistent._replace(predict=predict)


def hashed(row: Inputs) -> UInt32[Array, ""]:
    """Of the bits of one row: a sum modulo 2^32, with random odd weights, of words whose high bits reach the low ones.

    Without that floats with few digits, whose low bits are zero, would collide.
    """
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(row)]
    words = [jax.lax.bitcast_convert_type(a, jnp.uint32) if a.dtype.itemsize == 4 else a for a in leaves]
    bits = jnp.concatenate([word.astype(jnp.uint32) for word in words])
    mixed = (bits ^ (bits >> 16)) * (jax.random.bits(jax.random.key(0), bits.shape) | 1)
    return jnp.sum(mixed ^ (mixed >> 15), dtype=jnp.uint32)
