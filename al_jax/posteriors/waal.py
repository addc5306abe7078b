"""WAAL's network: features that a critic cannot tell labelled from unlabelled rows by, in Wasserstein distance."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.models.forward import features_of, forward, forward_rows, in_dtype, init_params
from al_jax.models.last_layer import head
from al_jax.posteriors.point import point_metrics
from al_jax.sweep import known
from al_jax.training import Apply, Minibatch, Objective, Training, train
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey

WIDTH = 50
"""Of the critic's hidden layer, as in the authors' code."""


class Params(NamedTuple):
    """Parameters of the network and of the critic of its features."""

    network: Any
    critic: Any


class Critic(nn.Module):
    """A number for each row of features: large where rows are unlike the labelled ones."""

    @nn.compact
    def __call__(self, features: Float[Array, "n D"]) -> Float[Array, " n"]:
        """Its values; only differences mean something."""
        return nn.Dense(1)(nn.relu(nn.Dense(WIDTH)(features)))[:, 0]


@memoised
def waal(
    module: nn.Module, likelihood: Likelihood, training: Training, *, weight: float = 0.01, penalty: float = 5.0
) -> Posterior:
    """`point` that also brings features of labelled and of available rows together (Shui et al. 2020): K = 1.

    A step minimises the likelihood's loss + weight * W over the network, and maximises W - penalty * E(|grad g| - 1)^2
    over the critic g, W = E_U g(h(x)) - E_L g(h(x)): one step of each at once. `extras["critic"]` is g(h(x)), which
    `acquisitions.waal` reads.

    Where the authors' code departs from the paper this follows the paper: there the critic's step *maximises* the
    gradient penalty, and the labelled rows have a weight below 1, so that a constant added to g raises W.

    Args:
      module: any Flax module that names its features; dropout is used while training and off while predicting.
      likelihood: loss and predictions.
      training: budget, optimiser (of network and critic), penalty, early stopping; it has no objective of its own.
      weight: of the distance; 0, or an empty pool, trains the network as `point` does.
      penalty: of the critic's gradients at points between labelled and unlabelled features.

    `fit` reports `distance`. ValueError for a training with an objective, negative numbers, a pool on the host, and a
    network without features.
    """
    if training.objective is not None:
        raise ValueError("training: expected one without an objective, for WAAL has its own")
    for name, value in (("weight", weight), ("penalty", penalty)):
        if known(value) and not 0 <= value < float("inf"):
            raise ValueError(f"{name}={value}: expected 0 or more")
    trained = in_dtype(module, training.dtype)

    def init(key: PRNGKey, x: Inputs) -> Params:
        network = init_params(module, key, x)
        width = features_of(jax.eval_shape(lambda p: forward(module, p, x), network), module).shape[1]
        return Params(network, Critic().init(jax.random.fold_in(key, 1), jnp.zeros((1, width)))["params"])

    def critic(params: Any, features: Float[Array, "n D"]) -> Float[Array, " n"]:
        return jnp.asarray(Critic().apply({"params": params}, features))

    def outputs(params: Params, key: PRNGKey | None, x: Inputs) -> Array:
        return forward(trained, params.network, x, None if key is None else {"dropout": key}).logits

    def loss(
        key: PRNGKey,
        apply: Apply,
        params: Params,
        labelled: Minibatch,
        unlabelled: Minibatch,
        progress: Array,
        memory: None,
    ) -> tuple[Array, dict[str, Array]]:
        pool_key, between_key = (jax.random.fold_in(key, i) for i in (1, 2))
        known_rows = forward(trained, params.network, labelled.inputs, {"dropout": key})
        others = forward(trained, params.network, unlabelled.inputs, {"dropout": pool_key})
        both = tuple(features_of(found, module).astype(jnp.float32) for found in (known_rows, others))
        some = unlabelled.valid[0] & labelled.valid.any()

        def distance(of: Any, here: Array, there: Array) -> Array:
            ours = jnp.where(labelled.valid, critic(of, here), 0.0).sum() / jnp.maximum(labelled.valid.sum(), 1)
            return jnp.where(some, critic(of, there).mean() - ours, 0.0)

        fixed = tuple(map(jax.lax.stop_gradient, both))
        share = jax.random.uniform(between_key, (len(fixed[0]), 1))
        between = share * fixed[0] + (1 - share) * fixed[1]
        slopes = jax.vmap(jax.grad(lambda h: critic(params.critic, h[None])[0]))(between)
        # sqrt has no gradient at 0, where a dead critic's slopes are.
        lengths = jnp.sqrt(jnp.square(slopes).sum(-1) + 1e-12)
        steep = jnp.where(labelled.valid & some, jnp.square(lengths - 1), 0.0).sum() / jnp.maximum(
            labelled.valid.sum(), 1
        )
        for_network = distance(jax.lax.stop_gradient(params.critic), *both)
        for_critic = distance(params.critic, *fixed)
        total = labelled.mean(likelihood.loss(known_rows.logits, labelled.labels))
        return total + weight * (for_network - for_critic + penalty * steep), {"distance": for_critic}

    own = Objective(loss, ratio=1)

    def fit(key: PRNGKey, state: Params, data: Data) -> tuple[Params, dict[str, Array]]:
        how = dataclasses.replace(training, objective=own)
        return train(key, state, data, how, Apply(outputs, likelihood), point_metrics(predict, likelihood))

    def sample(key: PRNGKey, state: Params, num_samples: int) -> None:
        return None

    def predict(state: Params, draws: None, x: Inputs) -> Predictions:
        found = forward_rows(module, state.network, x)
        extras = found.extras | {"critic": critic(state.critic, features_of(found, module))}
        return likelihood.predictions(found.logits[..., None, :], found.logits, found.features, extras)

    def of_last_layer(state: Params, x: Inputs, features: Array) -> Array:
        return head(module, state.network, x, features)

    return Posterior(init, fit, sample, predict, of_last_layer)
