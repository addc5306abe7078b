"""Monte-Carlo dropout: dropout kept on while predicting is a draw from an approximate posterior."""

from typing import Any

import flax.linen as nn
import jax

from al_jax.memo import memoised
from al_jax.models.forward import forward_rows, has_dropout
from al_jax.posteriors.point import point
from al_jax.training import Training
from al_jax.types import Inputs, Likelihood, Posterior, Predictions, PRNGKey


@memoised
def mc_dropout(module: nn.Module, likelihood: Likelihood, training: Training) -> Posterior:
    """Gal & Ghahramani 2016: a draw is the network under one set of dropout masks, the same for every row and chunk.

    Everything before the first dropout layer is computed once, not once a draw. Args as for `point`.
    `init` raises ValueError when `module` has no dropout layer: its K samples would be one network, K times.
    """
    network = point(module, likelihood, training)

    def init(key: PRNGKey, x: Inputs) -> Any:
        state = network.init(key, x)
        if not has_dropout(module, state, x):
            raise ValueError(
                f"module={type(module).__name__} has no dropout layer that is on while training, so mc_dropout has "
                "nothing to sample: give it a positive dropout rate, or use the posterior `point`"
            )
        return state

    def sample(key: PRNGKey, state: Any, num_samples: int) -> Any:
        return jax.random.split(key, num_samples)

    def predict(state: Any, draws: Any, x: Inputs) -> Predictions:
        logits = jax.vmap(lambda key: forward_rows(module, state, x, {"dropout": key}).logits, out_axes=-2)(draws)
        deterministic = forward_rows(module, state, x)
        return likelihood.predictions(logits, *deterministic)

    return Posterior(init, network.fit, sample, predict, network.head)
