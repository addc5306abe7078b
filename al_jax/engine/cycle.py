"""One round of active learning as pure functions of static shapes: learn, choose a batch, absorb its labels."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from al_jax.engine.learning import Sizes, functions_of, learning
from al_jax.engine.state import (
    State,
    absorbing,
    check_twins,
    generated,
    keys,
    one_row,
    posterior_of,
    split_once,
    starting,
)
from al_jax.memo import memoised
from al_jax.mesh import EVERYWHERE, OWN_PART, joined, on_mesh, one_by_one_on_cpu, unplaced
from al_jax.pool import candidates
from al_jax.sweep import Recipe
from al_jax.types import (
    Acquisition,
    Cycle,
    Data,
    Inputs,
    Labelled,
    Learned,
    Likelihood,
    Pool,
    PRNGKey,
    Round,
    RoundInfo,
)


class Begun(NamedTuple):
    """A round before it has seen the pool, as arrays alone: with the state they make its functions again anywhere."""

    draws: Any
    context: Any


class Steps(NamedTuple):
    """A round in pieces: `cycle` makes two programs of them, `host_pool` several, as the host reads the pool.

    Those that know no acquisition are the same objects for every one, so that they are compiled once for all.

    start(key, first [m, ...], rows [m], labels [m], available [N], values = {}) -> state without memory
    remember(key, available [N], inputs | None) -> memory       `key` as given to `start`, `available` of its state
    learn(state, inputs | None, validation, test) -> (state, Learned)    knows no acquisition, reads no memory
    begin(state, data) -> Begun                  sample, prepare; `data.pool` is None when the pool is on the host
    as_round(state, data, begun) -> Round        what summaries are made with
    finish(state, learned, data, begun, rows [n], summary) -> RoundInfo       select among the candidates `rows`
    absorb(state, inputs [B, ...], rows [B], labels [B], valid [B], excluded [B] = none, twins = none) -> state  neither
    """

    recipe: Recipe
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


@functools.partial(memoised, kept=32)  # as many as programs: an acquisition may hold arrays
def cycle(
    recipe: Recipe, acquisition: Acquisition, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None = None
) -> Cycle:
    """Build the round of a campaign; vmap it over seeds and compile it once.

    With a `mesh` it scores on all its devices; inputs of pool and test set lie there as `parallel.place_rows` puts
    them. A `recipe` that is a function makes the posterior of the swept numbers in the state. ValueError for sizes that
    contradict each other.
    """
    step = steps(recipe, acquisition, likelihood, sizes, mesh)

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
    recipe: Recipe, acquisition: Acquisition, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None = None
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
    capacity *= 2 if acquisition.twins else 1

    def remember(key: PRNGKey, available: Bool[Array, " N"], inputs: Inputs | None) -> Any:
        pool: Any = None if inputs is None else Pool(unplaced(inputs, len(available), mesh), available)
        return acquisition.init(split_once(key)[2], pool)

    def begin(state: State, data: Data) -> Begun:
        draws = posterior_of(recipe, state).sample(keys(state).sample, state.posterior, num_samples)
        before = as_round(state, data, Begun(draws, None))
        return Begun(draws, acquisition.prepare(keys(state).prepare, before))

    def as_round(state: State, data: Data, begun: Begun) -> Round:
        posterior = posterior_of(recipe, state)
        functions = functions_of(posterior, state.posterior, begun.draws)
        head = None
        if posterior.head is not None:
            head = functools.partial(posterior.head, state.posterior, one_row(state.labelled))
        return Round(keys(state).score, functions, data, state.memory, begun.context, head)

    def finish(
        state: State, learned: Learned, data: Data, begun: Begun, rows: Int[Array, " n"], summary: Any
    ) -> RoundInfo:
        available = state.available[rows]
        acquired = acquisition.select(keys(state).select, as_round(state, data, begun), summary, available, batch_size)
        check_twins(acquisition, acquired, data.labelled)
        made = generated(state.labelled) if acquisition.twins else jnp.zeros((), jnp.int32)
        return RoundInfo(
            num_labelled=state.labelled.count - made,
            metrics=learned.metrics,
            fit=learned.fit,
            rows=rows[acquired.indices].astype(jnp.int32),
            scores=acquired.scores,
            valid=available[acquired.indices],
            info=acquired.info | ({"generated": made} if acquisition.twins else {}),
        )

    # Learning knows nothing of batches and subsets: campaigns that differ in these alone share its program.
    learn = learning(recipe, likelihood, sizes._replace(batch_size=1, max_labels=1, pool_subset=None), mesh)
    start, absorb = starting(recipe, capacity, warm_start), absorbing(max_labels)
    return Steps(recipe, acquisition, chunk_size, pool_subset, start, remember, learn, begin, as_round, finish, absorb)
