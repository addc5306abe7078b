"""Cyclical stochastic gradient Hamiltonian Monte Carlo: every cycle finds a mode, and samples around it."""

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
def cyclical_sghmc(
    module: Annotated[nn.Module, {"dropout": 0.0}],
    likelihood: Likelihood,
    training: Training,
    *,
    prior_std: float = 1.0,
    learning_rate: float = 0.1,
    cycles: int = 4,
    steps: int = 200,
    draws: int = 5,
    exploring: float = 0.8,
    momentum: float = 0.9,
) -> Posterior:
    """Zhang et al. 2020, eq. 1: step sizes fall as a cosine in every cycle; noise, and draws, in its last part alone.

    The momentum's form is that of SGHMC (Chen et al. 2014, eq. 15). `point` is the network with the mean of all draws,
    which of several modes says little.

    Args:
      module: any Flax module `x -> outputs`; its dropout is off on the walk.
      training: of the network from which the walk starts; its minibatch size is the walk's, too.
      prior_std: of the zero-mean Gaussian prior over every parameter.
      learning_rate: of the mean loss, at the start of a cycle.
      cycles: how many.
      steps: of a cycle.
      draws: kept of each, evenly spaced in its last part; never more than cycles * draws samples are given.
      exploring: share of a cycle without noise.
      momentum: how much of the velocity stays in a step.

    ValueError unless all of them are positive, exploring and momentum below 1, and a cycle's last part has as many
    steps as draws.
    """
    check_walk(prior_std, learning_rate, cycles=cycles, steps=steps, draws=draws)
    for name, value in (("exploring", exploring), ("momentum", momentum)):
        if known(value) and not 0 <= value < 1:
            raise ValueError(f"{name}={value}: expected 0 or more and less than 1")
    sampling = steps - round(exploring * steps)
    if sampling < draws:
        raise ValueError(f"draws={draws}: expected at most {sampling}, the steps of a cycle that sample")
    apart = sampling // draws

    def step(index: Array) -> Step:
        place = index % steps
        size = learning_rate / 2 * (jnp.cos(jnp.pi * place / steps) + 1)
        return Step(size * (1 - momentum), jnp.asarray(momentum), (place >= steps - sampling).astype(jnp.float32))

    def keep(index: Array) -> Array:
        before_end = steps - 1 - index % steps
        number = draws - 1 - before_end // apart
        kept = (before_end % apart == 0) & (number >= 0)
        return jnp.where(kept, index // steps * draws + number, -1)

    return along_a_trajectory(module, likelihood, training, prior_std, cycles * steps, step, keep, cycles * draws)
