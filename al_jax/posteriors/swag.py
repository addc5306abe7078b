"""SWAG: a Gaussian through the places that stochastic gradient descent visits around a solution."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.models.forward import forward, forward_draws, forward_rows, in_dtype
from al_jax.models.last_layer import head
from al_jax.posteriors.point import point
from al_jax.sweep import known
from al_jax.training import Apply, Training, train
from al_jax.types import Data, Inputs, Labelled, Likelihood, Posterior, Predictions, PRNGKey


class State(NamedTuple):
    """Moments of the snapshots: parameters, parameters, and parameters with a leading axis for the last `rank`."""

    mean: Any
    variance: Any
    deviations: Any


@memoised
def swag(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    *,
    learning_rate: float = 0.02,
    snapshots: int = 40,
    steps: int = 10,
    rank: int = 20,
) -> Posterior:
    """Train the network, walk on by plain SGD, and fit a Gaussian to the places visited: diagonal / 2 + low rank / 2.

    Maddox et al. 2019. A draw is mean + sqrt(variance / 2) z + sum_r deviation_r z_r / sqrt(2 (rank - 1)).
    Deviations are taken from the mean of all snapshots, where the paper takes the mean so far. `point` is the mean
    (stochastic weight averaging, Izmailov et al. 2018).

    Args:
      training: of the network, as by `point`; its minibatches, penalty and augmentation hold for the walk, too.
      learning_rate: of the walk, which determines how wide the Gaussian is.
      snapshots: of the walk, which is snapshots * steps long.
      steps: from one snapshot to the next.
      rank: of the covariance beside the diagonal: how many of the last snapshots it is made of.

    ValueError unless learning_rate is positive, steps at least 1, and 2 <= rank <= snapshots.
    """
    if known(learning_rate) and not learning_rate > 0:
        raise ValueError(f"learning_rate={learning_rate}: expected a positive number")
    if not 2 <= rank <= snapshots:
        raise ValueError(f"rank={rank}: expected 2 to snapshots={snapshots}")
    network, trained = point(module, likelihood, training), in_dtype(module, training.dtype)
    walk = dataclasses.replace(
        training, optimizer=optax.sgd(learning_rate), steps=steps, epochs=None, patience=None, evaluate_every=None
    )

    def init(key: PRNGKey, x: Inputs) -> State:
        mean = network.init(key, x)
        deviations = jax.tree.map(lambda leaf: jnp.zeros((rank, *leaf.shape), leaf.dtype), mean)
        return State(mean, jax.tree.map(jnp.zeros_like, mean), deviations)

    def outputs(params: Any, key: PRNGKey | None, x: Inputs) -> Array:
        return forward(trained, params, x, None if key is None else {"dropout": key}).logits

    def no_metrics(params: Any, validation: Labelled) -> dict[str, Array]:
        return {}

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        fit_key, walk_key = jax.random.split(key)
        params, info = network.fit(fit_key, state.mean, data)

        def on(params: Any, key: PRNGKey) -> tuple[Any, tuple[Any, Array]]:
            params, report = train(key, params, data, walk, Apply(outputs, likelihood), no_metrics)
            return params, (params, report["finite"])

        _, (trail, finite) = jax.lax.scan(on, params, jax.random.split(walk_key, snapshots))
        mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), trail)
        variance = jax.tree.map(lambda leaf: leaf.var(axis=0), trail)
        deviations = jax.tree.map(lambda leaf, centre: leaf[-rank:] - centre, trail, mean)
        some = data.labelled.count > 0
        kept = jax.tree.map(lambda new, old: jnp.where(some, new, old), State(mean, variance, deviations), state)
        return kept, info | {"finite": info["finite"] & finite.all()}

    def sample(key: PRNGKey, state: State, num_samples: int) -> Any:
        mean, unflatten = ravel_pytree(state.mean)
        scale = jnp.sqrt(ravel_pytree(state.variance)[0] / 2.0)
        deviations = jax.vmap(lambda tree: ravel_pytree(tree)[0])(state.deviations) / jnp.sqrt(2.0 * (rank - 1))

        def draw(key: PRNGKey) -> Any:
            # All noise at once: a generator for every parameter would take seconds to compile.
            noise = jax.random.normal(key, (len(mean) + rank,))
            return unflatten(mean + scale * noise[rank:] + noise[:rank] @ deviations)

        return jax.vmap(draw)(jax.random.split(key, num_samples))

    def predict(state: State, draws: Any, x: Inputs) -> Predictions:
        logits = forward_draws(module, state.mean, draws, x)
        return likelihood.predictions(logits, *forward_rows(module, state.mean, x))

    def of_mean(state: State, x: Inputs, features: Array) -> Array:
        return head(module, state.mean, x, features)

    return Posterior(init, fit, sample, predict, of_mean)
