"""Evidential networks: one network says a Dirichlet distribution over the class probabilities of every row."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float, Int

from al_jax.memo import memoised
from al_jax.models.forward import forward, forward_rows, in_dtype
from al_jax.models.last_layer import head
from al_jax.posteriors.point import point, point_metrics
from al_jax.sweep import known
from al_jax.training import Apply, Minibatch, Objective, Training, train
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey


class Terms(NamedTuple):
    """Of rows `[n]`: expected squared error, and the divergence from saying nothing about the wrong classes."""

    error: Float[Array, " n"]
    divergence: Float[Array, " n"]


def concentration(outputs: Float[Array, "*n C"]) -> Float[Array, "*n C"]:
    """alpha = 1 + softplus(outputs), at least 1."""
    return 1.0 + jax.nn.softplus(outputs)


def terms(alpha: Float[Array, "n C"], labels: Int[Array, " n"]) -> Terms:
    """Sensoy et al. 2018, eq. 5, and KL(Dir(alpha~) || Dir(1)) of eq. 3, alpha~ = y + (1 - y) alpha; in nats."""
    y = jax.nn.one_hot(labels, alpha.shape[-1])
    total = alpha.sum(-1, keepdims=True)
    mean = alpha / total
    error = (jnp.square(y - mean) + mean * (1 - mean) / (total + 1)).sum(-1)
    wrong = y + (1 - y) * alpha
    all_wrong = wrong.sum(-1, keepdims=True)
    classes = alpha.shape[-1]
    divergence = gammaln(all_wrong[..., 0]) - gammaln(float(classes)) - gammaln(wrong).sum(-1)
    divergence += ((wrong - 1) * (digamma(wrong) - digamma(all_wrong))).sum(-1)
    return Terms(error, divergence)


@memoised
def evidential(
    module: nn.Module, likelihood: Likelihood, training: Training, *, weight: float = 1.0, annealing: float = 0.5
) -> Posterior:
    """Sensoy et al. 2018: minimise eq. 5 + weight * min(1, progress / annealing) * KL of the wrong evidence.

    A draw is one function: class probabilities from Dir(alpha(x)), made of every row's alpha by the same random
    numbers. `point` is the mean, alpha / sum alpha. The softplus stands where the paper has a ReLU, whose gradient
    dies, so that alpha is above 1.

    Args:
      module: any Flax module `x -> outputs`; dropout is used while training and off while predicting.
      likelihood: `categorical()`; its loss is not used, its metrics are.
      training: budget, optimiser, penalty, early stopping; it has no objective of its own.
      weight: of the divergence.
      annealing: share of the steps until the divergence has its weight; the paper has 10 epochs.

    ValueError for a likelihood of numbers, a training with an objective, and numbers that are negative.
    """
    if likelihood.outputs is not None:
        raise ValueError("likelihood: expected categorical(), for a Dirichlet distribution is over classes")
    if training.objective is not None:
        raise ValueError("training: expected one without an objective, for evidential networks have their own")
    for name, value in (("weight", weight), ("annealing", annealing)):
        if known(value) and not 0 <= value < float("inf"):
            raise ValueError(f"{name}={value}: expected 0 or more")
    network, trained = point(module, likelihood, training), in_dtype(module, training.dtype)

    def outputs(params: Any, key: PRNGKey | None, x: Inputs) -> Array:
        return forward(trained, params, x, None if key is None else {"dropout": key}).logits

    def loss(
        key: PRNGKey, apply: Apply, params: Any, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
    ) -> tuple[Array, dict[str, Array]]:
        error, divergence = terms(concentration(apply(params, key, labelled.inputs)), labelled.labels)
        share = jnp.minimum(1.0, progress / annealing) if not known(annealing) or annealing else 1.0
        return labelled.mean(error + weight * share * divergence), {"divergence": labelled.mean(divergence)}

    own = Objective(loss)

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        how = dataclasses.replace(training, objective=own)
        return train(key, state, data, how, Apply(outputs, likelihood), point_metrics(of_point, likelihood))

    def of_point(state: Any, draws: None, x: Inputs) -> Predictions:
        return predict(state, jnp.zeros(0), x).at_point()

    def sample(key: PRNGKey, state: Any, num_samples: int) -> Any:
        return jax.random.split(key, num_samples)

    def predict(state: Any, draws: Any, x: Inputs) -> Predictions:
        found, features, extras = forward_rows(module, state, x)
        alpha = concentration(found)
        mean = jnp.log(alpha) - jnp.log(alpha.sum(-1, keepdims=True))
        if not len(draws):
            return Predictions(mean[..., None, :], mean, features, extras)

        def one(key: PRNGKey, alpha: Float[Array, "*n C"]) -> Float[Array, "*n C"]:
            gammas = jax.random.loggamma(key, alpha)
            return gammas - jax.nn.logsumexp(gammas, axis=-1, keepdims=True)

        of_row = jax.vmap(jax.vmap(one, (0, None)), (None, 0))(draws, alpha)
        return Predictions(of_row, mean, features, extras | {"evidence": alpha.sum(-1) - alpha.shape[-1]})

    def log_concentration(state: Any, x: Inputs, features: Array) -> Array:
        return jnp.log(concentration(head(module, state, x, features)))  # its softmax is the mean

    return Posterior(network.init, fit, sample, predict, log_concentration)
