"""A single trained network: the posterior that has no uncertainty about its parameters."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array

from al_jax.models.forward import forward, forward_rows, init_params
from al_jax.training import Training, train
from al_jax.types import Data, Inputs, Labelled, Likelihood, Posterior, Predictions, PRNGKey


def point(module: nn.Module, likelihood: Likelihood, training: Training) -> Posterior:
    """Maximum likelihood (with `training.penalty`: a posteriori) estimate: K = 1, the only draw is the network.

    Args:
      module: any Flax module `x -> outputs`; dropout is used while training and off while predicting.
      likelihood: loss and predictions, `categorical()`.
      training: budget, optimiser, penalty, early stopping.
    """

    def init(key: PRNGKey, x: Inputs) -> Any:
        return init_params(module, key, x)

    def losses(params: Any, key: PRNGKey, x: Inputs, labels: Array) -> Array:
        return likelihood.loss(forward(module, params, x, {"dropout": key}).logits, labels)

    def metrics(params: Any, validation: Labelled) -> dict[str, Array]:
        return likelihood.metrics(predict(params, None, validation.inputs), validation.labels)

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        return train(key, state, data, training, losses, metrics)

    def sample(key: PRNGKey, state: Any, num_samples: int) -> None:
        return None

    def predict(state: Any, draws: None, x: Inputs) -> Predictions:
        logits, features, extras = forward_rows(module, state, x)
        return likelihood.predictions(logits[..., None, :], logits, features, extras)

    return Posterior(init, fit, sample, predict)
