"""Noisy gradient descent on the labelled rows whose path is a sample: what SGLD and cyclical SGHMC share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from al_jax.models.forward import forward, forward_draws, forward_rows
from al_jax.models.last_layer import head
from al_jax.posteriors.point import point
from al_jax.sweep import known
from al_jax.training import Minibatch, Training
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey


class State(NamedTuple):
    """The mean of the draws, and the draws: parameters with a leading axis, `[draws, ...]`."""

    params: Any
    draws: Any


class Step(NamedTuple):
    """What one step does: its size, how much momentum it keeps, and how much noise it takes (0 or 1)."""

    size: Float[Array, ""]
    momentum: Float[Array, ""]
    noise: Float[Array, ""]


def along_a_trajectory(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    prior_std: float,
    steps: int,
    step: Callable[[Int[Array, ""]], Step],
    keep: Callable[[Int[Array, ""]], Int[Array, ""]],
    draws: int,
) -> Posterior:
    """The posterior whose draws are parameters that a noisy walk passed through.

    The walk starts from the trained network. It descends the mean potential U / N = mean loss + |w|^2 / (2 N
    prior_std^2) of random minibatches, with v <- momentum v - size grad + noise sqrt(2 (1 - momentum) size / N) z and
    w <- w + v: with small steps its path has the density exp(-U). `keep(index)` is the place that the parameters after
    step `index` are kept at, -1 for none; later ones overwrite.
    """
    network = point(module, likelihood, training)

    def init(key: PRNGKey, x: Inputs) -> State:
        params = network.init(key, x)
        return State(params, jax.tree.map(lambda leaf: jnp.repeat(leaf[None], draws, axis=0), params))

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        train_key, walk_key = jax.random.split(key)
        params, info = network.fit(train_key, state.params, data)
        labelled = jax.tree.map(jnp.asarray, data.labelled)
        count = labelled.count
        number = jnp.maximum(count, 1).astype(jnp.float32)
        size = min(training.minibatch_size, len(labelled.rows))

        def mean_potential(params: Any, rows: Array, valid: Array) -> Array:
            inputs = jax.tree.map(lambda leaf: leaf[rows], labelled.inputs)
            outputs = forward(module, params, inputs).logits
            batch = Minibatch(inputs, labelled.labels[rows], labelled.weights[rows], valid)
            decay = optax.tree.norm(params, squared=True) / (2 * prior_std**2)
            return batch.mean(likelihood.loss(outputs, batch.labels)) + decay / number

        def walk(index: Array, carry: Any) -> Any:
            params, velocity, kept = carry
            of_rows, of_noise = jax.random.split(jax.random.fold_in(walk_key, index))
            # All rows, each once, where a minibatch can hold them, and else random ones: the gradient is unbiased.
            drawn = jax.random.randint(of_rows, (size,), 0, jnp.maximum(count, 1))
            whole, slots = count <= size, jnp.arange(size)
            rows = jnp.where(whole, jnp.where(slots < count, slots, 0), drawn)
            gradient = jax.grad(mean_potential)(params, rows, ~whole | (slots < count))
            flat, unravel = ravel_pytree(gradient)
            taken = step(index)
            noise = taken.noise * jnp.sqrt(2 * (1 - taken.momentum) * taken.size / number)
            moved = taken.momentum * velocity - taken.size * flat + noise * jax.random.normal(of_noise, flat.shape)
            params = optax.apply_updates(params, unravel(moved))
            place = keep(index)
            kept = jax.tree.map(
                lambda all_of, leaf: jnp.where(place >= 0, all_of.at[jnp.maximum(place, 0)].set(leaf), all_of),
                kept,
                params,
            )
            return params, moved, kept

        velocity = jnp.zeros_like(ravel_pytree(params)[0])
        with jax.default_matmul_precision("highest"):
            last, _, kept = jax.lax.fori_loop(0, steps, walk, (params, velocity, state.draws))
        found = State(jax.tree.map(lambda leaf: leaf.mean(axis=0), kept), kept)
        some = count > 0
        fitted = jax.tree.map(lambda new, old: jnp.where(some, new, old), found, state)
        leaves = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((last, found))])
        return fitted, info | {"finite": info["finite"] & (leaves.all() | ~some)}

    def sample(key: PRNGKey, state: State, num_samples: int) -> Any:
        if num_samples >= draws:
            return state.draws
        chosen = jax.random.permutation(key, draws)[:num_samples]
        return jax.tree.map(lambda leaf: leaf[chosen], state.draws)

    def predict(state: State, chosen: Any, x: Inputs) -> Predictions:
        logits = forward_draws(module, state.params, chosen, x)
        return likelihood.predictions(logits, *forward_rows(module, state.params, x))

    def of_mean(state: State, x: Inputs, features: Array) -> Array:
        return head(module, state.params, x, features)

    return Posterior(init, fit, sample, predict, of_mean)


def check_walk(prior_std: float, learning_rate: float, **sizes: int) -> None:
    """ValueError, naming the argument, for a number that is not positive or a size below 1."""
    for name, value in (("prior_std", prior_std), ("learning_rate", learning_rate)):
        if known(value) and not 0 < value < float("inf"):
            raise ValueError(f"{name}={value}: expected a positive number")
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
