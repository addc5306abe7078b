"""Snapshot ensembles: one training run with a learning rate that restarts, and a member at the end of each cycle."""

from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.posteriors.trajectory import Step, along_a_trajectory, check_walk
from al_jax.sweep import known
from al_jax.training import Training
from al_jax.types import Likelihood, Posterior


@memoised
def snapshot_ensemble(
    module: Annotated[nn.Module, {"dropout": 0.0}],
    likelihood: Likelihood,
    training: Training,
    *,
    members: int = 5,
    steps: int = 200,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    prior_std: float = 10.0,
) -> Posterior:
    """Huang et al. 2017, eq. 2: SGD with cosine cycles from the trained network on; the ends of the cycles are draws.

    It is `cyclical_sghmc` without noise. `point` is the network with the mean of all members' parameters.

    Args:
      module: any Flax module `x -> outputs`; its dropout is off on the walk.
      training: of the network from which the walk starts; its minibatch size is the walk's, too.
      members: cycles, and draws.
      steps: of a cycle.
      learning_rate: at the start of a cycle.
      momentum: of SGD.
      prior_std: a weight decay of 1 / (N prior_std^2).

    ValueError unless all of them are positive, and momentum below 1.
    """
    check_walk(prior_std, learning_rate, members=members, steps=steps)
    if known(momentum) and not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum}: expected 0 or more and less than 1")

    def step(index: Array) -> Step:
        size = learning_rate / 2 * (jnp.cos(jnp.pi * (index % steps) / steps) + 1)
        return Step(size, jnp.asarray(momentum), jnp.zeros(()))

    def keep(index: Array) -> Array:
        return jnp.where(index % steps == steps - 1, index // steps, -1)

    return along_a_trajectory(module, likelihood, training, prior_std, members * steps, step, keep, members)
