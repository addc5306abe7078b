"""One round of active learning as pure functions of static shapes: propose a batch, absorb its labels."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from al_jax.mesh import EVERYWHERE, OWN_PART, joined, on_mesh, one_by_one_on_cpu, unplaced
from al_jax.models.forward import num_rows
from al_jax.pool import candidates, stream
from al_jax.types import (
    Acquisition,
    Cycle,
    Data,
    Inputs,
    Labelled,
    Likelihood,
    Pool,
    Posterior,
    PRNGKey,
    Round,
    RoundInfo,
)

TEST_SPEC = Labelled(OWN_PART, EVERYWHERE, EVERYWHERE, EVERYWHERE, EVERYWHERE)  # type: ignore[arg-type]
"""Where the test set lies in mode `pool`."""


class State(NamedTuple):
    """A campaign between two rounds. Excluded rows are neither available nor in the labelled buffer."""

    key: PRNGKey
    round: Int[Array, ""]
    labelled: Labelled
    available: Bool[Array, " N"]
    posterior: Any  # as the last round fitted it
    memory: Any  # the acquisition's


class Begun(NamedTuple):
    """A round before it has seen the pool, as arrays alone: with the state they make its functions again anywhere."""

    fit: dict[str, Array]
    metrics: dict[str, Array]
    draws: Any
    context: Any


class Keys(NamedTuple):
    """The keys of one round."""

    init: PRNGKey
    fit: PRNGKey
    sample: PRNGKey
    score: PRNGKey
    prepare: PRNGKey
    pool: PRNGKey
    select: PRNGKey


class Steps(NamedTuple):
    """A round in pieces: `cycle` makes one program of them, `host_pool` several between which the host reads the pool.

    start(key, first [m, ...], rows [m], labels [m], available [N], inputs | None) -> state
    fit(state, data) -> (state, info)            `data.pool` and `inputs` are None when the pool is on the host
    begin(state, info, data, test) -> Begun      after `fit`: sample, evaluate, prepare
    as_round(state, data, begun) -> Round        what summaries are made with
    finish(state, data, begun, rows [n], summary) -> RoundInfo       select among the candidates `rows`
    absorb(state, inputs [B, ...], rows [B], labels [B], valid [B]) -> state
    """

    posterior: Posterior
    acquisition: Acquisition
    chunk_size: int
    pool_subset: int | None
    start: Callable[..., State]
    fit: Callable[[State, Data], tuple[State, dict[str, Array]]]
    begin: Callable[[State, dict[str, Array], Data, Labelled], Begun]
    as_round: Callable[[State, Data, Begun], Round]
    finish: Callable[[State, Data, Begun, Array, Any], RoundInfo]
    absorb: Callable[..., State]


def keys(state: State) -> Keys:
    """All randomness of this round; rounds fold in, so that a resumed campaign draws what an uninterrupted one does."""
    init_key, fit_key, assess_key = jax.random.split(jax.random.fold_in(state.key, state.round), 3)
    return Keys(init_key, fit_key, *jax.random.split(assess_key, 5))


class Sizes(NamedTuple):
    """What a round does, as numbers that its programs are compiled for.

    batch_size: B, rows acquired a round.
    num_samples: K, posterior samples for scores and metrics; K < 1 is a ValueError.
    max_labels: the labelled buffer's size; `absorb` never takes more, so a last batch may be taken in part.
    test_samples: fewer posterior samples for the metrics, drawn for themselves; None takes those of the scores.
    chunk_size: rows predicted at a time.
    pool_subset: offer the acquisition this many random available rows a round.
    warm_start: fit from last round's parameters instead of fresh ones.
    evaluate: metrics of the mean over samples, or of the deterministic network where a paper did so.
    """

    batch_size: int
    num_samples: int
    max_labels: int
    test_samples: int | None = None
    chunk_size: int = 128
    pool_subset: int | None = None
    warm_start: bool = False
    evaluate: Literal["samples", "point"] = "samples"


def cycle(
    posterior: Posterior, acquisition: Acquisition, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None = None
) -> Cycle:
    """Build the round of a campaign; vmap it over seeds and compile it once.

    With a `mesh` it scores on all its devices; inputs of pool and test set lie there as `parallel.place_rows` puts
    them. ValueError for sizes that contradict each other.
    """
    step = steps(posterior, acquisition, likelihood, sizes, mesh)

    def init(
        key: PRNGKey,
        inputs: Inputs,
        rows: Int[Array, " m"],
        labels: Array,
        available: Bool[Array, " N"] | None = None,
    ) -> State:
        """Begin with `rows [m]` labelled; `available` excludes further rows from the pool for good."""
        first = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], inputs)
        free = jnp.ones(num_rows(inputs), bool) if available is None else available
        return step.start(key, first, rows, labels, free, unplaced(inputs, len(free), mesh))

    def propose(state: State, inputs: Inputs, validation: Labelled | None, test: Labelled) -> tuple[State, RoundInfo]:
        """Fit, evaluate on `test`, score the pool, select a batch. The state changes only in its fitted posterior."""
        pool = Pool(unplaced(inputs, len(state.available), mesh), state.available)
        state, info = step.fit(state, Data(state.labelled, validation, pool))
        return state, assess(state, info, inputs, validation, test)

    @one_by_one_on_cpu
    def assess(
        state: State, info: dict[str, Array], inputs: Inputs, validation: Labelled | None, test: Labelled
    ) -> RoundInfo:
        specs = EVERYWHERE, EVERYWHERE, OWN_PART, EVERYWHERE, TEST_SPEC
        return on_mesh(after_fit, mesh, *specs)(state, info, inputs, validation, test)

    def after_fit(
        state: State, info: dict[str, Array], inputs: Inputs, validation: Labelled | None, test: Labelled
    ) -> RoundInfo:
        whole = inputs if mesh is None else jax.tree.map(lambda leaf: leaf[: len(state.available)], joined(inputs))
        data = Data(state.labelled, validation, Pool(whole, state.available))
        begun = step.begin(state, info, data, test)
        round = step.as_round(state, data, begun)
        offered = candidates(
            keys(state).pool, acquisition, round, inputs, state.available, sizes.chunk_size, sizes.pool_subset, mesh
        )
        return step.finish(state, data, begun, offered.rows, offered.summary)

    return Cycle(init, propose, step.absorb)


def steps(
    posterior: Posterior, acquisition: Acquisition, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None = None
) -> Steps:
    """The pieces of `cycle`, whose arguments these are."""
    batch_size, num_samples, max_labels, test_samples, chunk_size, pool_subset, warm_start, evaluate = sizes
    for name, value in (("batch_size", batch_size), ("num_samples", num_samples), ("chunk_size", chunk_size)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    if pool_subset is not None and pool_subset < batch_size:
        raise ValueError(f"pool_subset={pool_subset}: expected at least batch_size={batch_size}")
    if test_samples is not None and not 1 <= test_samples <= num_samples:
        raise ValueError(f"test_samples={test_samples}: expected 1 to {num_samples} (num_samples)")
    if evaluate not in ("samples", "point"):
        raise ValueError(f"evaluate={evaluate!r}: expected 'samples' or 'point'")
    capacity = max_labels + batch_size  # dynamic_update_slice clamps: a full buffer must still have room for a batch

    def one_row(labelled: Labelled) -> Inputs:  # networks are initialised for its shape; there is one even at count 0
        return jax.tree.map(lambda leaf: leaf[:1], labelled.inputs)

    def start(
        key: PRNGKey,
        first: Inputs,
        rows: Int[Array, " m"],
        labels: Array,
        available: Bool[Array, " N"],
        inputs: Inputs | None,
    ) -> State:
        key, posterior_key, memory_key = jax.random.split(key, 3)

        def buffer(values: Array) -> Array:
            return jnp.zeros((capacity, *values.shape[1:]), values.dtype).at[: len(rows)].set(values)

        labelled = Labelled(
            inputs=jax.tree.map(buffer, first),
            labels=buffer(labels),
            weights=jnp.ones(capacity),
            rows=jnp.full(capacity, -1, jnp.int32).at[: len(rows)].set(rows),
            count=jnp.asarray(len(rows), jnp.int32),
        )
        available = available.at[rows].set(False)
        pool: Any = None if inputs is None else Pool(inputs, available)
        memory = acquisition.init(memory_key, pool)
        row = one_row(labelled)
        if warm_start:
            fresh = posterior.init(posterior_key, row)
        else:  # `fit` makes its own: keep the structure, and spare the compilation
            fresh = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(posterior.init, key, row)
            )
        return State(key, jnp.zeros((), jnp.int32), labelled, available, fresh, memory)

    def fit(state: State, data: Data) -> tuple[State, dict[str, Array]]:
        key = keys(state)
        fresh = state.posterior if warm_start else posterior.init(key.init, one_row(state.labelled))
        fitted, info = posterior.fit(key.fit, fresh, data)
        return state._replace(posterior=fitted), info

    def begin(state: State, info: dict[str, Array], data: Data, test: Labelled) -> Begun:
        key = keys(state)
        draws = posterior.sample(key.sample, state.posterior, num_samples)
        begun = Begun(info, {}, draws, None)
        before = as_round(state, data, begun)
        tester = before
        if test_samples is not None:
            fewer = posterior.sample(jax.random.fold_in(key.sample, 1), state.posterior, test_samples)
            tester = as_round(state, data, begun._replace(draws=fewer))

        def evaluated(x: Inputs, _: Array) -> Any:
            predictions = tester.functions(x)
            if evaluate == "point":
                predictions = predictions.at_point()
            return likelihood.marginal(predictions)._replace(features=None, extras={})

        tested = stream(evaluated, test.inputs, jnp.arange(len(test.rows)), chunk_size, mesh, placed=mesh is not None)
        metrics = likelihood.metrics(tested, test.labels)
        return begun._replace(metrics=metrics, context=acquisition.prepare(key.prepare, before))

    def as_round(state: State, data: Data, begun: Begun) -> Round:
        def functions(x: Inputs) -> Any:
            # By default TPUs and recent GPUs round the factors of a float32 product to bfloat16 or TF32.
            with jax.default_matmul_precision("highest"):
                return posterior.predict(state.posterior, begun.draws, x)

        return Round(keys(state).score, functions, data, state.memory, begun.context)

    def finish(state: State, data: Data, begun: Begun, rows: Int[Array, " n"], summary: Any) -> RoundInfo:
        available = state.available[rows]
        acquired = acquisition.select(keys(state).select, as_round(state, data, begun), summary, available, batch_size)
        return RoundInfo(
            num_labelled=state.labelled.count,
            metrics=begun.metrics,
            fit=begun.fit,
            rows=rows[acquired.indices].astype(jnp.int32),
            scores=acquired.scores,
            valid=available[acquired.indices],
            info=acquired.info,
        )

    def absorb(state: State, inputs: Inputs, rows: Int[Array, " B"], labels: Array, valid: Bool[Array, " B"]) -> State:
        """Move the `valid` rows from the pool to the labelled buffer and begin the next round.

        Whatever it is given, labelled, available and excluded rows partition the pool: a row that is not available, one
        given twice, and what exceeds `max_labels` are passed over. Row -1 (never in the pool) is always taken.
        """
        count = state.labelled.count
        in_pool = rows >= 0
        repeated = jnp.any(jnp.tril(rows[:, None] == rows[None, :], -1) & valid[None, :], axis=1) & in_pool
        valid = valid & ~repeated & (state.available[rows] | ~in_pool)
        valid = valid & (count + jnp.cumsum(valid) <= max_labels)
        order = jnp.argsort(~valid, stable=True)  # the valid ones first

        def append(buffer: Array, values: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(buffer, values[order].astype(buffer.dtype), count, axis=0)

        labelled = Labelled(
            inputs=jax.tree.map(append, state.labelled.inputs, inputs),
            labels=append(state.labelled.labels, labels),
            weights=state.labelled.weights,
            rows=append(state.labelled.rows, rows),
            count=count + jnp.sum(valid, dtype=jnp.int32),
        )
        available = state.available.at[jnp.where(in_pool, rows, 0)].min(~(valid & in_pool))
        return state._replace(round=state.round + 1, labelled=labelled, available=available)

    return Steps(posterior, acquisition, chunk_size, pool_subset, start, fit, begin, as_round, finish, absorb)
