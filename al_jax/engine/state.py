"""What a campaign is between two rounds: its state, the randomness of a round, the first state and the next one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from al_jax import sweep
from al_jax.memo import memoised
from al_jax.sweep import UNSWEPT, Recipe
from al_jax.threefry import as_before, written_out
from al_jax.types import Acquired, Acquisition, Inputs, Labelled, Posterior, PRNGKey


class State(NamedTuple):
    """A campaign between two rounds. Excluded rows are neither available nor in the labelled buffer."""

    key: PRNGKey
    round: Int[Array, ""]
    labelled: Labelled
    available: Bool[Array, " N"]
    posterior: Any  # as the last round fitted it
    memory: Any  # the acquisition's
    values: Mapping[str, Array] = UNSWEPT


class Keys(NamedTuple):
    """The keys of one round."""

    init: PRNGKey
    fit: PRNGKey
    sample: PRNGKey
    score: PRNGKey
    prepare: PRNGKey
    pool: PRNGKey
    select: PRNGKey


def keys(state: State) -> Keys:
    """All randomness of this round; rounds fold in, so that a resumed campaign draws what an uninterrupted one does."""
    of_round = jax.random.fold_in(written_out(state.key), state.round)
    init_key, fit_key, assess_key = jax.random.split(of_round, 3)
    return Keys(init_key, fit_key, *jax.random.split(assess_key, 5))


def posterior_of(recipe: Recipe, state: State) -> Posterior:
    """The posterior of this campaign: the recipe's, of its swept numbers."""
    return sweep.at(recipe, state.values)


@memoised
def starting(recipe: Recipe, capacity: int, warm_start: bool) -> Callable[..., State]:
    """`Steps.start`, with a labelled buffer of `capacity` slots."""

    def start(
        key: PRNGKey,
        first: Inputs,
        rows: Int[Array, " m"],
        labels: Array,
        available: Bool[Array, " N"],
        values: Mapping[str, Array] = UNSWEPT,
    ) -> State:
        posterior = sweep.at(recipe, values)
        key, posterior_key, _ = split_once(key)

        def buffer(values: Array) -> Array:
            return jnp.zeros((capacity, *values.shape[1:]), values.dtype).at[: len(rows)].set(values)

        labelled = Labelled(
            inputs=jax.tree.map(buffer, first),
            labels=buffer(labels),
            weights=jnp.ones(capacity),
            rows=jnp.full(capacity, -1, jnp.int32).at[: len(rows)].set(rows),
            count=jnp.asarray(len(rows), jnp.int32),
        )
        row = one_row(labelled)
        if warm_start:
            fresh = posterior.init(posterior_key, row)
        else:  # `learn` makes its own: keep the structure, and spare the compilation
            fresh = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(posterior.init, key, row)
            )
        return State(key, jnp.zeros((), jnp.int32), labelled, available.at[rows].set(False), fresh, None, values)

    return start


@memoised
def absorbing(max_labels: int) -> Callable[..., State]:
    """`Steps.absorb`, which takes at most `max_labels` rows."""

    def absorb(
        state: State,
        inputs: Inputs,
        rows: Int[Array, " B"],
        labels: Array,
        valid: Bool[Array, " B"],
        excluded: Bool[Array, " B"] | None = None,
        twins: Inputs | None = None,
    ) -> State:
        """Move the `valid` rows from the pool to the labelled buffer, take the `excluded` out of it; the next round.

        Whatever it is given, labelled, available and excluded rows partition the pool: a row that is not available, one
        given twice, and what exceeds `max_labels` are passed over. Row -1 (never in the pool) is always taken. A taken
        row's twin follows under the same label, as row -1, and does not count towards `max_labels`.
        """
        count = state.labelled.count
        in_pool = rows >= 0
        repeated = jnp.any(jnp.tril(rows[:, None] == rows[None, :], -1) & valid[None, :], axis=1) & in_pool
        gone = jnp.zeros(len(rows), bool) if excluded is None else excluded & in_pool
        valid = valid & ~repeated & ~gone & (state.available[rows] | ~in_pool)
        known = count if twins is None else count - generated(state.labelled)
        valid = valid & (known + jnp.cumsum(valid) <= max_labels)
        order = jnp.argsort(~valid, stable=True)  # the valid ones first

        def with_batch(labelled: Labelled, inputs: Inputs, rows: Array) -> Labelled:
            def append(buffer: Array, values: Array) -> Array:
                values = values[order].astype(buffer.dtype)
                return jax.lax.dynamic_update_slice_in_dim(buffer, values, labelled.count, axis=0)

            return Labelled(
                inputs=jax.tree.map(append, labelled.inputs, inputs),
                labels=append(labelled.labels, labels),
                weights=labelled.weights,
                rows=append(labelled.rows, rows),
                count=labelled.count + jnp.sum(valid, dtype=jnp.int32),
            )

        labelled = with_batch(state.labelled, inputs, rows)
        if twins is not None:
            labelled = with_batch(labelled, twins, jnp.full_like(rows, -1))
        available = state.available.at[jnp.where(in_pool, rows, 0)].min(~(gone | valid & in_pool))
        return state._replace(round=state.round + 1, labelled=labelled, available=available)

    return absorb


def check_twins(acquisition: Acquisition, acquired: Acquired, labelled: Labelled) -> None:
    """ValueError unless generated rows are there exactly when announced, and have the types of the inputs."""
    if ("twins" in acquired.info) != acquisition.twins:
        there = "has" if "twins" in acquired.info else "lacks"
        raise ValueError(f"twins={acquisition.twins}, and `select` {there} info['twins']: expected both or neither")
    if acquisition.twins:
        found, expected = (
            jax.tree.map(lambda leaf: leaf.dtype.name, tree) for tree in (acquired.info["twins"], labelled.inputs)
        )
        if found != expected:
            raise ValueError(f"info['twins'] has rows of {found}: expected {expected}, as the inputs")


def generated(labelled: Labelled) -> Int[Array, ""]:
    """How many labelled rows never were in the pool."""
    taken = jnp.arange(len(labelled.rows)) < labelled.count
    return jnp.sum(taken & (labelled.rows < 0), dtype=jnp.int32)


def split_once(key: PRNGKey) -> tuple[PRNGKey, PRNGKey, PRNGKey]:
    """The key of all rounds, that of the first parameters and that of the acquisition's memory."""
    of_rounds, posterior_key, memory_key = jax.random.split(written_out(key), 3)
    return as_before(of_rounds, key), posterior_key, memory_key


def one_row(labelled: Labelled) -> Inputs:
    """Networks are initialised for its shape; there is one even at count 0."""
    return jax.tree.map(lambda leaf: leaf[:1], labelled.inputs)
