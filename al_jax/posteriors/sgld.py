"""Stochastic gradient Langevin dynamics: gradient descent with noise that makes its path a sample."""

from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.posteriors.trajectory import Step, along_a_trajectory, check_walk
from al_jax.training import Training
from al_jax.types import Likelihood, Posterior


@memoised
def sgld(
    module: Annotated[nn.Module, {"dropout": 0.0}],
    likelihood: Likelihood,
    training: Training,
    *,
    prior_std: float = 1.0,
    learning_rate: float = 0.02,
    burn_in: int = 200,
    thinning: int = 20,
    draws: int = 20,
) -> Posterior:
    """Welling & Teh 2011, eq. 4, from the trained network on, with a step that does not fall.

    With N rows, steps of the mean loss and noise of variance 2 learning_rate / N, which is their eq. 4 with epsilon =
    2 learning_rate / N. Minibatches bring noise of their own, so that steps must be small. `point` is the network with
    the mean of the draws.

    Args:
      module: any Flax module `x -> outputs`; its dropout is off on the walk.
      training: of the network from which the walk starts; its minibatch size is the walk's, too.
      prior_std: of the zero-mean Gaussian prior over every parameter.
      learning_rate: of the walk.
      burn_in: steps before the first draw.
      thinning: steps from one draw to the next.
      draws: how many are kept; never more samples are given.

    ValueError unless all of them are positive.
    """
    check_walk(prior_std, learning_rate, burn_in=burn_in, thinning=thinning, draws=draws)

    def step(index: Array) -> Step:
        return Step(jnp.asarray(learning_rate), jnp.zeros(()), jnp.ones(()))

    def keep(index: Array) -> Array:
        after = index + 1 - burn_in
        return jnp.where((after > 0) & (after % thinning == 0), after // thinning - 1, -1)

    steps = burn_in + draws * thinning
    return along_a_trajectory(module, likelihood, training, prior_std, steps, step, keep, draws)
