"""Learning loss: a network with a small head that predicts which of two rows has the larger loss."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.memo import memoised
from al_jax.models.forward import in_dtype, init_params
from al_jax.models.last_layer import head
from al_jax.models.levels import forward_levels
from al_jax.posteriors.point import point_metrics
from al_jax.sweep import known
from al_jax.training import Apply, Minibatch, Objective, Training, train
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey

WIDTH = 128
"""Of the head's layer on each level, as in the paper."""


class Params(NamedTuple):
    """Parameters of the network, and of the head that predicts its loss."""

    network: Any
    loss: Any


class LossHead(nn.Module):
    """One predicted loss a row: a rectified dense layer on each level, joined by a linear one."""

    @nn.compact
    def __call__(self, levels: tuple[Float[Array, "n D"], ...]) -> Float[Array, " n"]:
        """The prediction, of which the order alone means something."""
        parts = [nn.relu(nn.Dense(WIDTH)(level)) for level in levels]
        return nn.Dense(1)(jnp.concatenate(parts, axis=-1))[:, 0]


def ranking_loss(
    predicted: Float[Array, " b"], losses: Float[Array, " b"], valid: Bool[Array, " b"], margin: float | Array
) -> Float[Array, ""]:
    """Mean over neighbouring pairs i, j of max(0, margin - sign(l_i - l_j) (predicted_i - predicted_j)); 0 of none.

    Yoo & Kweon 2019, eq. 2; equal losses have the sign -1, as there. A last row without a neighbour is left out, and so
    is a pair with a row that is not valid.
    """
    pairs = len(predicted) // 2
    (first, second), (l_first, l_second), ok = (a[: 2 * pairs].reshape(pairs, 2).T for a in (predicted, losses, valid))
    sign = jnp.where(l_first > l_second, 1.0, -1.0)
    both = jnp.all(ok, axis=0)
    hinges = jnp.maximum(0.0, margin - sign * (first - second))
    return jnp.sum(jnp.where(both, hinges, 0.0)) / jnp.maximum(both.sum(), 1)


@memoised
def loss_prediction(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    *,
    weight: float = 1.0,
    margin: float = 1.0,
    stop: float = 0.6,
) -> Posterior:
    """`point` with a head that learns to order rows by their loss (LL4AL: Yoo & Kweon 2019): K = 1.

    A step minimises the likelihood's loss + weight * `ranking_loss` of the minibatch. The head reads every layer but
    the last (`forward_levels`). `extras["loss"]` is its prediction, which `acquisitions.loss_prediction` reads.

    Args:
      module: any Flax module `x -> outputs`; dropout is used while training and off while predicting.
      likelihood: its loss is what is predicted.
      training: budget, optimiser (of network and head), penalty, early stopping; it has no objective of its own.
      weight: of the ranking loss; 0 trains the network as `point` does.
      margin: how far apart the predictions of a pair should be.
      stop: share of the steps after which the ranking loss changes the head alone, 120 of 200 epochs in the paper.

    `fit` reports `ranking`. ValueError for a training with an objective, negative numbers, a `stop` outside [0, 1], and
    a network of a single layer.
    """
    if training.objective is not None:
        raise ValueError("training: expected one without an objective, for loss prediction has its own")
    for name, value, high in (("weight", weight, float("inf")), ("margin", margin, float("inf")), ("stop", stop, 1)):
        if known(value) and not 0 <= value <= high:
            raise ValueError(f"{name}={value}: expected {'0 to 1' if high == 1 else '0 or more'}")
    trained = in_dtype(module, training.dtype)

    def init(key: PRNGKey, x: Inputs) -> Params:
        network = init_params(module, key, x)
        levels = jax.eval_shape(partial(forward_levels, module), network, x).levels
        zeros = jax.tree.map(lambda level: jnp.zeros((1, *level.shape[1:])), levels)
        return Params(network, LossHead().init(jax.random.fold_in(key, 1), zeros)["params"])

    def predicted(params: Params, levels: tuple[Array, ...]) -> Float[Array, " n"]:
        return jnp.asarray(LossHead().apply({"params": params.loss}, levels))

    def outputs(params: Params, key: PRNGKey | None, x: Inputs) -> Array:
        return forward_levels(trained, params.network, x, None if key is None else {"dropout": key}).outputs.logits

    def loss(
        key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
    ) -> tuple[Array, dict[str, Array]]:
        found, levels = forward_levels(trained, params.network, labelled.inputs, {"dropout": key})
        losses = likelihood.loss(found.logits, labelled.labels)
        together = progress < stop
        seen = tuple(jnp.where(together, level, jax.lax.stop_gradient(level)) for level in levels)
        ranking = ranking_loss(predicted(params, seen), jax.lax.stop_gradient(losses), labelled.valid, margin)
        return labelled.mean(losses) + weight * ranking, {"ranking": ranking}

    own = Objective(loss)

    def fit(key: PRNGKey, state: Params, data: Data) -> tuple[Params, dict[str, Array]]:
        how = dataclasses.replace(training, objective=own)
        return train(key, state, data, how, Apply(outputs, likelihood), point_metrics(predict, likelihood))

    def sample(key: PRNGKey, state: Params, num_samples: int) -> None:
        return None

    def predict(state: Params, draws: None, x: Inputs) -> Predictions:
        def one(row: Inputs) -> Any:
            found, levels = forward_levels(module, state.network, jax.tree.map(lambda leaf: leaf[None], row))
            told = found._replace(extras=found.extras | {"loss": predicted(state, levels)})
            return jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), told)

        logits, features, extras = jax.vmap(one)(x)
        return likelihood.predictions(logits[..., None, :], logits, features, extras)

    def of_last_layer(state: Params, x: Inputs, features: Array) -> Array:
        return head(module, state.network, x, features)

    return Posterior(init, fit, sample, predict, of_last_layer)
