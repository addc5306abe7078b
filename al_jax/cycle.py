"""One round of active learning as pure functions of static shapes: propose a batch, absorb its labels."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from al_jax.models.forward import num_rows
from al_jax.parallel import one_by_one_on_cpu
from al_jax.pool import Candidates, candidates, stream
from al_jax.types import (
    Acquired,
    Acquisition,
    Cycle,
    Data,
    Inputs,
    Labelled,
    Likelihood,
    Pool,
    Posterior,
    Predictions,
    PRNGKey,
    Round,
    RoundInfo,
)


class State(NamedTuple):
    """A campaign between two rounds. Excluded rows are neither available nor in the labelled buffer."""

    key: PRNGKey
    round: Int[Array, ""]
    labelled: Labelled
    available: Bool[Array, " N"]
    posterior: Any  # as the last round fitted it
    memory: Any  # the acquisition's


def cycle(
    posterior: Posterior,
    acquisition: Acquisition,
    likelihood: Likelihood,
    *,
    batch_size: int,
    num_samples: int,
    max_labels: int,
    chunk_size: int = 128,
    pool_subset: int | None = None,
    warm_start: bool = False,
    evaluate: Literal["samples", "point"] = "samples",
) -> Cycle:
    """Build the round of a campaign up to `max_labels`; vmap it over seeds and compile it once.

    Args:
      batch_size: B, rows acquired a round.
      num_samples: K, posterior samples for scores and metrics; K < 1 is a ValueError.
      max_labels: the labelled buffer's size; `absorb` never takes more, so a last batch may be taken in part.
      chunk_size: rows predicted at a time.
      pool_subset: offer the acquisition this many random available rows a round.
      warm_start: fit from last round's parameters instead of fresh ones.
      evaluate: metrics of the mean over samples, or of the deterministic network where a paper did so.
    """
    for name, value in (("batch_size", batch_size), ("num_samples", num_samples), ("chunk_size", chunk_size)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    if pool_subset is not None and pool_subset < batch_size:
        raise ValueError(f"pool_subset={pool_subset}: expected at least batch_size={batch_size}")
    if evaluate not in ("samples", "point"):
        raise ValueError(f"evaluate={evaluate!r}: expected 'samples' or 'point'")
    capacity = max_labels + batch_size  # dynamic_update_slice clamps: a full buffer must still have room for a batch

    def init(
        key: PRNGKey,
        inputs: Inputs,
        rows: Int[Array, " m"],
        labels: Array,
        available: Bool[Array, " N"] | None = None,
    ) -> State:
        """Begin with `rows [m]` labelled; `available` excludes further rows from the pool for good."""
        key, posterior_key, memory_key = jax.random.split(key, 3)

        def buffer(values: Array) -> Array:
            return jnp.zeros((capacity, *values.shape[1:]), values.dtype).at[: len(rows)].set(values)

        labelled = Labelled(
            inputs=jax.tree.map(lambda leaf: buffer(jnp.asarray(leaf)[rows]), inputs),
            labels=buffer(labels),
            weights=jnp.ones(capacity),
            rows=jnp.full(capacity, -1, jnp.int32).at[: len(rows)].set(rows),
            count=jnp.asarray(len(rows), jnp.int32),
        )
        mask = jnp.ones(num_rows(inputs), bool) if available is None else available
        mask = mask.at[rows].set(False)
        memory = acquisition.init(memory_key, Pool(inputs, mask))
        row = jax.tree.map(lambda leaf: leaf[:1], inputs)
        if warm_start:
            fresh = posterior.init(posterior_key, row)
        else:  # `propose` makes its own: keep the structure, and spare the compilation
            fresh = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(posterior.init, key, row)
            )
        return State(key, jnp.zeros((), jnp.int32), labelled, mask, fresh, memory)

    def propose(state: State, inputs: Inputs, validation: Labelled | None, test: Labelled) -> tuple[State, RoundInfo]:
        """Fit, evaluate on `test`, score the pool, select a batch. The state changes only in its fitted posterior."""
        round_key = jax.random.fold_in(state.key, state.round)
        init_key, fit_key, assess_key = jax.random.split(round_key, 3)
        row = jax.tree.map(lambda leaf: leaf[:1], inputs)
        start = state.posterior if warm_start else posterior.init(init_key, row)
        data = Data(state.labelled, validation, Pool(inputs, state.available))
        fitted, fit_info = posterior.fit(fit_key, start, data)
        metrics, offered, acquired = assess(assess_key, fitted, data, state.memory, test)
        info = RoundInfo(
            num_labelled=state.labelled.count,
            metrics=metrics,
            fit=fit_info,
            rows=offered.rows[acquired.indices].astype(jnp.int32),
            scores=acquired.scores,
            valid=offered.available[acquired.indices],
            info=acquired.info,
        )
        return state._replace(posterior=fitted), info

    @one_by_one_on_cpu
    def assess(
        key: PRNGKey, fitted: Any, data: Data, memory: Any, test: Labelled
    ) -> tuple[dict[str, Array], Candidates, Acquired]:
        """Everything after the fit: metrics on `test`, summaries of the pool, the selected batch."""
        sample_key, score_key, prepare_key, pool_key, select_key = jax.random.split(key, 5)
        draws = posterior.sample(sample_key, fitted, num_samples)

        def functions(x: Inputs) -> Predictions:
            return posterior.predict(fitted, draws, x)

        def evaluated(x: Inputs, _: Array) -> Predictions:
            predictions = functions(x)
            if evaluate == "point":
                predictions = predictions._replace(log_probs=predictions.point[..., None, :])
            return likelihood.marginal(predictions)._replace(features=None, extras={})

        tested = stream(evaluated, test.inputs, jnp.arange(len(test.rows)), chunk_size)
        round = Round(score_key, functions, data, memory)
        round = round._replace(context=acquisition.prepare(prepare_key, round))
        pool = data.pool
        assert pool is not None
        offered = candidates(pool_key, acquisition, round, pool.inputs, pool.available, chunk_size, pool_subset)
        acquired = acquisition.select(select_key, round, offered.summary, offered.available, batch_size)
        return likelihood.metrics(tested, test.labels), offered._replace(summary=None), acquired

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

    return Cycle(init, propose, absorb)
