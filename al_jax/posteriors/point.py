"""A single trained network: the posterior that has no uncertainty about its parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.models.forward import forward, forward_rows, in_dtype, init_params
from al_jax.models.last_layer import head
from al_jax.pool import stream
from al_jax.training import Apply, Training, train
from al_jax.types import Data, Inputs, Labelled, Likelihood, Posterior, Predictions, PRNGKey

CHUNK_SIZE = 128  # validation rows predicted at a time


@memoised
def point(module: nn.Module, likelihood: Likelihood, training: Training) -> Posterior:
    """One trained network, without uncertainty about its parameters: K = 1. (The mode, with `training.penalty`.)

    Args:
      module: any Flax module `x -> outputs`; dropout is used while training and off while predicting.
      likelihood: loss and predictions, `categorical()`.
      training: budget, optimiser, penalty, early stopping.
    """
    trained = in_dtype(module, training.dtype)

    def init(key: PRNGKey, x: Inputs) -> Any:
        return init_params(module, key, x)

    def outputs(params: Any, key: PRNGKey | None, x: Inputs) -> Array:
        return forward(trained, params, x, None if key is None else {"dropout": key}).logits

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        return train(key, state, data, training, Apply(outputs, likelihood), point_metrics(predict, likelihood))

    def sample(key: PRNGKey, state: Any, num_samples: int) -> None:
        return None

    def predict(state: Any, draws: None, x: Inputs) -> Predictions:
        logits, features, extras = forward_rows(module, state, x)
        return likelihood.predictions(logits[..., None, :], logits, features, extras)

    return Posterior(init, fit, sample, predict, partial(head, module))


def point_metrics(predict: Callable[..., Predictions], likelihood: Likelihood) -> Callable[..., dict[str, Array]]:
    """What early stopping monitors: `(params, validation) -> metrics` of a predict that needs no draws."""

    def metrics(params: Any, validation: Labelled) -> dict[str, Array]:
        def predicted(x: Inputs, _: Array) -> Predictions:
            return predict(params, None, x)._replace(features=None, extras={})

        predictions = stream(predicted, validation.inputs, jnp.arange(len(validation.rows)), CHUNK_SIZE)
        return likelihood.metrics(predictions, validation.labels)

    return metrics
