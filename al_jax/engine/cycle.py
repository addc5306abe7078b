"""One round of active learning as pure functions of static shapes: learn, choose a batch, absorb its labels."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from al_jax.memo import memoised
from al_jax.mesh import EVERYWHERE, OWN_PART, joined, on_mesh, one_by_one_on_cpu, unplaced
from al_jax.pool import candidates, stream
from al_jax.threefry import as_before, written_out
from al_jax.types import (
    Acquisition,
    Cycle,
    Data,
    Inputs,
    Labelled,
    Learned,
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
    """A round in pieces: `cycle` makes two programs of them, `host_pool` several, as the host reads the pool.

    Those that know no acquisition are the same objects for every one, so that they are compiled once for all.

    start(key, first [m, ...], rows [m], labels [m], available [N]) -> state without the acquisition's memory
    remember(key, available [N], inputs | None) -> memory       `key` as given to `start`, `available` of its state
    learn(state, inputs | None, validation, test) -> (state, Learned)    knows no acquisition, reads no memory
    begin(state, data) -> Begun                  sample, prepare; `data.pool` is None when the pool is on the host
    as_round(state, data, begun) -> Round        what summaries are made with
    finish(state, learned, data, begun, rows [n], summary) -> RoundInfo       select among the candidates `rows`
    absorb(state, inputs [B, ...], rows [B], labels [B], valid [B]) -> state     neither
    """

    posterior: Posterior
    acquisition: Acquisition
    chunk_size: int
    pool_subset: int | None
    start: Callable[..., State]
    remember: Callable[..., Any]
    learn: Callable[..., tuple[State, Learned]]
    begin: Callable[[State, Data], Begun]
    as_round: Callable[[State, Data, Begun], Round]
    finish: Callable[..., RoundInfo]
    absorb: Callable[..., State]


def keys(state: State) -> Keys:
    """All randomness of this round; rounds fold in, so that a resumed campaign draws what an uninterrupted one does."""
    of_round = jax.random.fold_in(written_out(state.key), state.round)
    init_key, fit_key, assess_key = jax.random.split(of_round, 3)
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


@functools.partial(memoised, kept=32)  # as many as programs: an acquisition may hold arrays
def cycle(
    posterior: Posterior, acquisition: Acquisition, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None = None
) -> Cycle:
    """Build the round of a campaign; vmap it over seeds and compile it once.

    With a `mesh` it scores on all its devices; inputs of pool and test set lie there as `parallel.place_rows` puts
    them. ValueError for sizes that contradict each other.
    """
    step = steps(posterior, acquisition, likelihood, sizes, mesh)

    @one_by_one_on_cpu
    def choose(state: State, learned: Learned, inputs: Inputs, validation: Labelled | None) -> RoundInfo:
        """Sample, prepare, score the pool, select a batch."""
        return on_mesh(chosen, mesh, EVERYWHERE, EVERYWHERE, OWN_PART, EVERYWHERE)(state, learned, inputs, validation)

    def chosen(state: State, learned: Learned, inputs: Inputs, validation: Labelled | None) -> RoundInfo:
        whole = inputs if mesh is None else jax.tree.map(lambda leaf: leaf[: len(state.available)], joined(inputs))
        data = Data(state.labelled, validation, Pool(whole, state.available))
        begun = step.begin(state, data)
        round = step.as_round(state, data, begun)
        offered = candidates(
            keys(state).pool, acquisition, round, inputs, state.available, sizes.chunk_size, sizes.pool_subset, mesh
        )
        return step.finish(state, learned, data, begun, offered.rows, offered.summary)

    return Cycle(step.start, step.remember, step.learn, choose, step.absorb)


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

    def remember(key: PRNGKey, available: Bool[Array, " N"], inputs: Inputs | None) -> Any:
        pool: Any = None if inputs is None else Pool(unplaced(inputs, len(available), mesh), available)
        return acquisition.init(_split_once(key)[2], pool)

    def begin(state: State, data: Data) -> Begun:
        draws = posterior.sample(keys(state).sample, state.posterior, num_samples)
        before = as_round(state, data, Begun(draws, None))
        return Begun(draws, acquisition.prepare(keys(state).prepare, before))

    def as_round(state: State, data: Data, begun: Begun) -> Round:
        functions = functions_of(posterior, state.posterior, begun.draws)
        return Round(keys(state).score, functions, data, state.memory, begun.context)

    def finish(
        state: State, learned: Learned, data: Data, begun: Begun, rows: Int[Array, " n"], summary: Any
    ) -> RoundInfo:
        available = state.available[rows]
        acquired = acquisition.select(keys(state).select, as_round(state, data, begun), summary, available, batch_size)
        return RoundInfo(
            num_labelled=state.labelled.count,
            metrics=learned.metrics,
            fit=learned.fit,
            rows=rows[acquired.indices].astype(jnp.int32),
            scores=acquired.scores,
            valid=available[acquired.indices],
            info=acquired.info,
        )

    start, absorb = starting(posterior, capacity, warm_start), absorbing(max_labels)
    samples = num_samples if test_samples is None else test_samples
    learn = learning(
        posterior, likelihood, samples, test_samples is not None, chunk_size, warm_start, evaluate == "point", mesh
    )
    return Steps(
        posterior, acquisition, chunk_size, pool_subset, start, remember, learn, begin, as_round, finish, absorb
    )


def functions_of(posterior: Posterior, state: Any, draws: Any) -> Callable[[Inputs], Any]:
    """The K functions of these draws, `x [n, ...] -> predictions`."""

    def functions(x: Inputs) -> Any:
        # By default TPUs and recent GPUs round the factors of a float32 product to bfloat16 or TF32.
        with jax.default_matmul_precision("highest"):
            return posterior.predict(state, draws, x)

    return functions


@memoised
def starting(posterior: Posterior, capacity: int, warm_start: bool) -> Callable[..., State]:
    """`Steps.start`, with a labelled buffer of `capacity` slots."""

    def start(
        key: PRNGKey, first: Inputs, rows: Int[Array, " m"], labels: Array, available: Bool[Array, " N"]
    ) -> State:
        key, posterior_key, _ = _split_once(key)

        def buffer(values: Array) -> Array:
            return jnp.zeros((capacity, *values.shape[1:]), values.dtype).at[: len(rows)].set(values)

        labelled = Labelled(
            inputs=jax.tree.map(buffer, first),
            labels=buffer(labels),
            weights=jnp.ones(capacity),
            rows=jnp.full(capacity, -1, jnp.int32).at[: len(rows)].set(rows),
            count=jnp.asarray(len(rows), jnp.int32),
        )
        row = _one_row(labelled)
        if warm_start:
            fresh = posterior.init(posterior_key, row)
        else:  # `learn` makes its own: keep the structure, and spare the compilation
            fresh = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(posterior.init, key, row)
            )
        return State(key, jnp.zeros((), jnp.int32), labelled, available.at[rows].set(False), fresh, None)

    return start


@memoised
def learning(
    posterior: Posterior,
    likelihood: Likelihood,
    num_samples: int,
    own_samples: bool,
    chunk_size: int,
    warm_start: bool,
    at_point: bool,
    mesh: Mesh | None,
) -> Callable[..., tuple[State, Learned]]:
    """`Steps.learn`: metrics are of `num_samples` draws, those of the scores or (`own_samples`) others."""

    def learn(
        state: State, inputs: Inputs | None, validation: Labelled | None, test: Labelled
    ) -> tuple[State, Learned]:
        """Fit, and evaluate on `test`. The state changes only in its fitted posterior."""
        pool = None if inputs is None else Pool(unplaced(inputs, len(state.available), mesh), state.available)
        key = keys(state)
        fresh = state.posterior if warm_start else posterior.init(key.init, _one_row(state.labelled))
        fitted, info = posterior.fit(key.fit, fresh, Data(state.labelled, validation, pool))
        sample_key = jax.random.fold_in(key.sample, 1) if own_samples else key.sample
        return state._replace(posterior=fitted), Learned(info, evaluate(fitted, sample_key, test))

    @one_by_one_on_cpu
    def evaluate(fitted: Any, key: PRNGKey, test: Labelled) -> dict[str, Array]:
        return on_mesh(evaluated, mesh, EVERYWHERE, EVERYWHERE, TEST_SPEC)(fitted, key, test)

    def evaluated(fitted: Any, key: PRNGKey, test: Labelled) -> dict[str, Array]:
        functions = functions_of(posterior, fitted, posterior.sample(key, fitted, num_samples))

        def of_chunk(x: Inputs, _: Array) -> Any:
            predictions = functions(x)
            if at_point:
                predictions = predictions.at_point()
            return likelihood.marginal(predictions)._replace(features=None, extras={})

        tested = stream(of_chunk, test.inputs, jnp.arange(len(test.rows)), chunk_size, mesh, placed=mesh is not None)
        return likelihood.metrics(tested, test.labels)

    return learn


@memoised
def absorbing(max_labels: int) -> Callable[..., State]:
    """`Steps.absorb`, which takes at most `max_labels` rows."""

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

    return absorb


def _split_once(key: PRNGKey) -> tuple[PRNGKey, PRNGKey, PRNGKey]:
    """The key of all rounds, that of the first parameters and that of the acquisition's memory."""
    of_rounds, posterior_key, memory_key = jax.random.split(written_out(key), 3)
    return as_before(of_rounds, key), posterior_key, memory_key


def _one_row(labelled: Labelled) -> Inputs:
    """Networks are initialised for its shape; there is one even at count 0."""
    return jax.tree.map(lambda leaf: leaf[:1], labelled.inputs)
