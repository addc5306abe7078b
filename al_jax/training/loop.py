"""Compiled optax training on the labelled buffer: minibatches, penalties, early stopping."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from al_jax.training.objective import SUPERVISED, Apply, Minibatch
from al_jax.training.penalty import Params
from al_jax.training.settings import Training
from al_jax.types import Data, Labelled, Pool, PRNGKey

AUGMENTATION, UNLABELLED = 1, 2  # folded into a step's key, so that what they draw changes no other draw


def minibatch_rows(
    key: PRNGKey, count: Int[Array, ""], block: Int[Array, ""], num_steps: int, batch_size: int, capacity: int
) -> Int[Array, "num_steps batch_size"]:
    """Buffer rows of every minibatch: consecutive blocks of `block` slots, each a fresh shuffle of rows 0..count-1.

    A block longer than `count` ends in padding: entries >= count. One sort serves the whole fit, so that a training
    step only slices.
    """
    slots = jnp.arange(num_steps * batch_size + capacity)  # the last block must be whole to be a fair shuffle
    epoch, row = slots // block, slots % block
    order = jnp.where(row < count, jax.random.uniform(key, slots.shape), jnp.inf)
    _, _, row = jax.lax.sort((epoch, order, row), num_keys=2)
    return row[: num_steps * batch_size].reshape(num_steps, batch_size)


def drawn_from(pool: Pool | None, size: int) -> Callable[[PRNGKey], Minibatch | None]:
    """key -> so many random available rows, with repetition, of weight 1; not valid where none is available.

    None for size 0; ValueError when there is no pool to draw from.
    """
    if size == 0:
        return lambda _: None
    if pool is None:
        raise ValueError("the objective needs unlabelled rows, and data.pool is None: expected a pool on the device")
    places = jnp.cumsum(pool.available)
    number = places[-1]

    def draw(key: PRNGKey) -> Minibatch:
        which = jax.random.randint(key, (size,), 0, jnp.maximum(number, 1))
        rows = jnp.minimum(jnp.searchsorted(places, which, side="right"), len(places) - 1)
        inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], pool.inputs)
        return Minibatch(inputs, None, jnp.ones(size), jnp.full(size, number > 0))

    return draw


def train(
    key: PRNGKey,
    params: Params,
    data: Data,
    training: Training,
    apply: Apply,
    metrics: Callable[[Params, Labelled], dict[str, Array]],
    penalty: Callable[[Params, PRNGKey, Array], Array] | None = None,
) -> tuple[Params, dict[str, Array]]:
    """Minimise the objective of `training` plus the penalties.

    `metrics(params, validation)` is what early stopping monitors; `penalty(params, key, count)` is the posterior's own
    (a KL), added to the user's, with the key of this step's loss. Returns the parameters and
    `{"loss": last minibatch's, "steps": taken, "finite": no NaN, no infinity}` beside what the objective reports. With
    no labelled rows the parameters come back unchanged. ValueError when patience is set without validation rows, when
    `monitor` is no metric of the likelihood, and for an objective of unlabelled rows without a pool.
    """
    labelled = jax.tree.map(jnp.asarray, data.labelled)
    count = labelled.count
    capacity, batch_size = len(labelled.rows), training.minibatch_size
    if training.patience is not None and data.validation is None:
        raise ValueError(f"patience={training.patience} needs a validation set, and data.validation is None")
    steps_a_period: int | Array
    if training.epochs is not None:  # a period is one pass over the labelled rows
        periods, steps_a_period = training.epochs, (count + batch_size - 1) // batch_size
        max_steps, block = training.epochs * -(-capacity // batch_size), steps_a_period * batch_size
    else:
        assert training.steps is not None
        steps_a_period = training.evaluate_every if training.patience and training.evaluate_every else training.steps
        periods, max_steps, block = training.steps // steps_a_period, training.steps, count
    optimizer = optax.with_extra_args_support(training.optimizer)
    aim = training.objective or SUPERVISED
    unlabelled_rows = drawn_from(data.pool, aim.ratio * batch_size)
    order_key, step_key = jax.random.split(key)
    order = minibatch_rows(order_key, count, jnp.maximum(block, 1), max_steps, batch_size, capacity)

    def objective(
        params: Params, key: PRNGKey, rows: Array, progress: Array, memory: Any
    ) -> tuple[Array, dict[str, Array]]:
        valid = rows < count
        rows = jnp.where(valid, rows, 0)
        inputs = jax.tree.map(lambda leaf: leaf[rows], labelled.inputs)
        if training.augment is not None:
            inputs = training.augment(jax.random.fold_in(key, AUGMENTATION), inputs)
        batch = Minibatch(inputs, labelled.labels[rows], labelled.weights[rows], valid)
        unlabelled = unlabelled_rows(jax.random.fold_in(key, UNLABELLED))
        mean, report = aim.loss(key, apply, params, batch, unlabelled, progress, memory)
        mean += 0.0 if training.penalty is None else training.penalty(params, count)
        return mean + (0.0 if penalty is None else penalty(params, key, count)), report

    def step(index: Array, carry: Any) -> Any:
        params, moments, memory, _ = carry
        fraction = index / jnp.maximum(periods * steps_a_period, 1)  # of the budget: early stopping may come before
        arguments = jax.random.fold_in(step_key, index), order[index], fraction, memory
        told, gradient = jax.value_and_grad(objective, has_aux=True)(params, *arguments)
        updates, moments = optimizer.update(gradient, moments, params, fraction=fraction)
        params = optax.apply_updates(params, updates)
        return params, moments, aim.update(memory, params, fraction), told

    def period(index: int | Array, carry: Any) -> Any:
        return jax.lax.fori_loop(0, steps_a_period, lambda i, c: step(index * steps_a_period + i, c), carry)

    memory = aim.init(params, data)
    told: tuple[Array, dict[str, Array]] = jnp.zeros(()), {}
    if aim is not SUPERVISED:  # tracing a step once more takes time
        shapes = jax.eval_shape(objective, params, step_key, order[0], jnp.zeros(()), memory)
        told = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    start = (params, optimizer.init(params), memory, told)
    if training.patience is None:
        # One loop, not two nested: the count of steps is all that is traced.
        trained, _, memory, (loss, report) = jax.lax.fori_loop(0, periods * steps_a_period, step, start)
        trained = aim.finish(trained, memory)
        taken = jnp.asarray(periods)
    else:
        validation, patience = data.validation, training.patience
        assert validation is not None
        sign = -1.0 if training.monitor == "accuracy" else 1.0

        def going(state: Any) -> Array:
            index, bad = state[0], state[-1]
            return (index < periods) & (bad < patience)

        def evaluated(state: Any) -> Any:
            index, carry, best, best_value, bad = state
            carry = period(index, carry)
            reached = aim.finish(carry[0], carry[2])
            found = metrics(reached, validation)
            if training.monitor not in found:
                raise ValueError(f"monitor={training.monitor!r}: expected one of {', '.join(sorted(found))}")
            value = sign * found[training.monitor]
            better = value < best_value
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), reached, best)
            return index + 1, carry, best, jnp.where(better, value, best_value), jnp.where(better, 0, bad + 1)

        first = (jnp.zeros((), jnp.int32), start, params, jnp.asarray(jnp.inf), jnp.zeros((), jnp.int32))
        taken, (last, _, memory, (loss, report)), trained, best_value, _ = jax.lax.while_loop(going, evaluated, first)
        last = aim.finish(last, memory)
        # Nothing was ever better than infinity only when the metric was NaN: hand back the NaN, not the start.
        trained = jax.tree.map(lambda b, end: jnp.where(jnp.isfinite(best_value), b, end), trained, last)

    kept = jax.tree.map(lambda new, old: jnp.where(count > 0, new, old), trained, params)
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(kept)]).all() & jnp.isfinite(loss)
    return kept, {
        **report,
        "loss": loss,
        "steps": jnp.where(count > 0, taken * steps_a_period, 0),
        "finite": finite | (count == 0),
    }
