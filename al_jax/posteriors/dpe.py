"""Deep probabilistic ensembles: members that are held to a prior together, as draws of one Gaussian."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.posteriors.ensemble import AXIS, ensemble
from al_jax.posteriors.point import point
from al_jax.sweep import is_zero, known
from al_jax.training import Training
from al_jax.types import Likelihood, Posterior

SMALLEST = 1e-8
"""Added to the variance across members, whose logarithm is taken."""


def divergence(params: Any) -> Float[Array, ""]:
    """KL(q || p) in nats, inside a vmap over the axis `AXIS`: q the Gaussian of every weight across members.

    Chitta et al. 2018, eq. 4: for each weight of a kernel log(s_p / s) + (s^2 + m^2) / (2 s_p^2) - 1/2, with the prior
    N(0, s_p^2 = 2 / fan-in) of He et al. 2015. Biases and scales (leaves of one axis) are left out.
    """

    def of_leaf(leaf: Array) -> Array:
        mean = jax.lax.pmean(leaf, AXIS)
        variance = jax.lax.pmean(jnp.square(leaf - mean), AXIS) + SMALLEST
        prior = 2.0 / (leaf.size // leaf.shape[-1])
        return jnp.sum(0.5 * (jnp.log(prior / variance) + (variance + jnp.square(mean)) / prior - 1.0))

    return sum((of_leaf(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim > 1), start=jnp.zeros(()))


@memoised
def dpe(
    module: nn.Module, likelihood: Likelihood, training: Training, *, members: int = 5, strength: float = 1e-5
) -> Posterior:
    """`ensemble(point, members)` with a penalty on what the members are together (Chitta et al. 2018).

    Minimised is the mean over members of the likelihood's loss + strength * `divergence`: members neither collapse nor
    leave the prior's width. Everything else is as of the ensemble.

    Args:
      module: any Flax module `x -> outputs`; dropout is used while training and off while predicting.
      likelihood: loss and predictions.
      training: budget, optimiser, penalty, early stopping, objective.
      members: networks, 2 or more.
      strength: of the divergence beside a loss in nats a row; 0 is the ensemble, to the bit.

    ValueError for fewer than 2 members, and a negative strength.
    """
    if members < 2:
        raise ValueError(f"members={members}: expected at least 2, for one has no variance")
    if known(strength) and not 0 <= strength < float("inf"):
        raise ValueError(f"strength={strength}: expected 0 or more")
    if is_zero(strength):
        return ensemble(point(module, likelihood, training), members)

    def penalty(params: Any, count: Array) -> Array:
        own = 0.0 if training.penalty is None else training.penalty(params, count)
        # Every member adds the same divergence, so that its gradient comes `members` times: once for each loss.
        return own + strength * divergence(params)

    return ensemble(point(module, likelihood, dataclasses.replace(training, penalty=penalty)), members)
