"""The same campaign with the pool on the host: it streams through the devices in pieces and never lies there whole.

On a device there is, whatever the number N of pool rows: two pieces of the pool, one that is scored and one that comes
next, and the labelled buffers, parameters and draws of all seeds. What grows with N are the masks of available rows (a
byte a row and seed) and the summaries: a float a row and seed of a pointwise score, the features of core-set. Summaries
are collected on the host, and lie on the device for `select`, one group of seeds after the other. Of a random subset or
a shortlist of m rows only m rows are summarised. An acquisition that does not look at its rows (random) has none read.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from al_jax import sweep
from al_jax.data import Dataset
from al_jax.engine import lowering, parallel
from al_jax.engine.compiled import FROM_SEEDS, Compiled, absorbed, beginnings, full_buffer, lower_absorb, transfers
from al_jax.engine.cycle import Begun, Steps
from al_jax.engine.host_pass import PIECE_BYTES, compile_pass, shape_of
from al_jax.engine.parallel import Layout
from al_jax.engine.state import State, keys
from al_jax.mesh import EVERYWHERE, on_mesh, one_by_one_on_cpu
from al_jax.models.forward import num_rows
from al_jax.pool import offered_rows, ranked, shortlisted
from al_jax.sweep import UNSWEPT, Repetition
from al_jax.types import Data, Labelled, Learned, Pool, RoundInfo


def compile_host_pool(
    steps: Steps,
    dataset: Dataset,
    repetitions: Sequence[Repetition],
    rows: np.ndarray,
    batch_size: int,
    layout: Layout,
    piece_bytes: int = PIECE_BYTES,
) -> Compiled:
    """What `compile_cycle` does, with `dataset.inputs` (NumPy arrays, memory-mapped or not) left where they are.

    It acquires the rows that a pool on the device does. ValueError, before any work, when the posterior or the
    acquisition reads the pool as a whole: `round.data.pool`, or the `pool` of `init`.
    """
    test = parallel.replicate(full_buffer((), dataset.test_labels), layout)
    test = test._replace(inputs=parallel.place_rows(dataset.test_inputs, layout))
    validation = None
    if dataset.validation_labels is not None:
        validation = parallel.replicate(full_buffer(dataset.validation_inputs, dataset.validation_labels), layout)
    mesh = layout.mesh if layout.mode == "pool" else None
    check_pool_is_not_read(steps, dataset, rows.shape[1], validation, test, mesh, repetitions[0].values)
    size = num_rows(dataset.inputs)
    subset = size if steps.pool_subset is None else min(steps.pool_subset, size)

    @one_by_one_on_cpu
    def begin(state: State, validation: Labelled | None) -> tuple[Begun, Array | None]:
        rows = offered_rows(keys(state).pool, state.available, subset) if subset < size else None
        data = Data(state.labelled, validation)
        return on_mesh(steps.begin, mesh, EVERYWHERE, EVERYWHERE)(state, data), rows

    @one_by_one_on_cpu
    def keep(state: State, rows: Array | None, scores: Array) -> Array:
        return shortlisted(keys(state).pool, _numbers(rows, size), scores, state.available, m)

    @one_by_one_on_cpu
    def finish(
        state: State, learned: Learned, validation: Labelled | None, begun: Begun, rows: Array | None, summary: Any
    ) -> RoundInfo:
        return steps.finish(state, learned, Data(state.labelled, validation), begun, _numbers(rows, size), summary)

    began = time.perf_counter()
    starts = parallel.split(beginnings(dataset, repetitions, rows), layout)
    available = parallel.replicate(np.ones(size, bool), layout)
    batch, join, split = transfers(dataset, layout)
    lower = lowering.lower_over_seeds
    start = lower(steps.start, layout, FROM_SEEDS, *starts[0][:4], available, starts[0][4])
    blank = parallel.shapes(start.out_info, layout, of_seeds=True)
    remember = lower(steps.remember, layout, (True, True, False), starts[0][0], blank.available, None)
    state = blank._replace(memory=parallel.shapes(remember.out_info, layout, of_seeds=True))
    learn = lower(steps.learn, layout, (True, False, False, False), blank, None, validation, test)
    learned = parallel.shapes(learn.out_info[1], layout, of_seeds=True)
    begins = lower(begin, layout, (True, False), state, validation, kept=False)
    begun, offered = parallel.shapes(begins.out_info, layout, of_seeds=True)
    twins = steps.acquisition.twins
    absorb = lower_absorb(steps.absorb, blank, batch, len(repetitions), batch_size, dataset, layout, twins)
    lowered = [start, remember, learn, begins, absorb]
    _, m = steps.acquisition.shortlist or (None, subset)
    known = state, validation, begun
    if m < subset:
        rank = compile_pass(
            lambda round, x, _: ranked(steps.acquisition, round, x),
            *(steps, layout, dataset.inputs, known, offered, piece_bytes),
        )
        keeps = lower(keep, layout, (True,) * 3, state, offered, rank.found, kept=False)
        offered = parallel.shapes(keeps.out_info, layout, of_seeds=True)
        lowered.append(keeps)
    score = compile_pass(steps.acquisition.summarise, *(steps, layout, dataset.inputs, known, offered, piece_bytes))
    mapped, chosen = (True, True, False, True, True, True), (state, learned, validation, begun, offered, score.found)
    finishes = lower(finish, layout, mapped, *chosen, kept=False)
    executables = lowering.compile_lowered([*lowered, finishes])
    passes = [score.executable, *([rank.executable] if m < subset else [])]
    lowering.check_memory([*executables, *passes], state, layout)
    run_start, run_remember, run_learn, run_begin, run_absorb, *run_keep, run_finish = executables
    compile_seconds = time.perf_counter() - began

    def started(group: tuple[Any, ...]) -> State:
        state = run_start(*group[:4], available, group[4])
        return state._replace(memory=run_remember(group[0], state.available, None))

    def learn_one(state: State) -> tuple[State, Learned]:
        fitted, learned = run_learn(state._replace(memory=None), None, validation, test)
        return fitted._replace(memory=state.memory), learned

    def propose_all(groups: list[State]) -> tuple[list[State], RoundInfo]:
        fitted, learned = map(list, zip(*map(learn_one, groups), strict=True))
        begun, rows = map(list, zip(*(run_begin(state, validation) for state in fitted), strict=True))
        if m < subset:
            rows = [run_keep[0](*group) for group in zip(fitted, rows, rank.run(fitted, begun, rows), strict=True)]
        summaries = score.run(fitted, begun, rows)
        infos = [
            run_finish(state, of_fit, validation, *group)
            for state, of_fit, *group in zip(fitted, learned, begun, rows, summaries, strict=True)
        ]
        return fitted, parallel.join(infos, layout)

    def absorb_all(groups: list[State], *told: np.ndarray) -> list[State]:
        answers = batch(*told)
        return [absorbed(run_absorb, group, part) for group, part in zip(groups, answers, strict=True)]

    shapes = jax.tree.map(lambda leaf: np.empty((len(repetitions), *leaf.shape[2:]), leaf.dtype), finishes.out_info)
    return Compiled([*map(started, starts)], propose_all, absorb_all, join, split, shapes, compile_seconds)


def check_pool_is_not_read(
    steps: Steps,
    dataset: Dataset,
    num_initial: int,
    validation: Labelled | None,
    test: Labelled,
    mesh: Mesh | None = None,
    values: Mapping[str, float] = UNSWEPT,
) -> None:
    """ValueError, naming the function, when the posterior or the acquisition does not work without a pool.

    Every function is traced without one, and where that fails once more with it, so that other errors stay what they
    are. Nothing is computed.
    """
    posterior, acquisition, size = sweep.at(steps.recipe, values), steps.acquisition, num_rows(dataset.inputs)
    validation, test = jax.tree.map(jnp.asarray, (validation, test))  # a tracer does not index NumPy arrays
    count = min(size, steps.pool_subset or size, acquisition.shortlist[1] if acquisition.shortlist else size)

    def inputs(count: int) -> Any:
        return jax.tree.map(lambda leaf: shape_of((count, *leaf.shape[1:]), leaf.dtype), dataset.inputs)

    def rows(count: int, *axes: int) -> Any:
        return shape_of((count, *axes), jnp.int32)

    whole = Pool(inputs(size), shape_of((size,), bool))

    def without_pool(name: str, method: Callable, function: Callable, *args: Any) -> Any:
        try:
            return jax.eval_shape(lambda *args: function(None, *args), *args)
        except Exception as error:
            jax.eval_shape(function, whole, *args)
            raise ValueError(
                f"{name} ({method.__qualname__}) reads the whole pool, which a pool on the host does not allow: use "
                'pool_on="device"'
            ) from error

    def data(pool: Pool | None, state: State) -> Data:
        return Data(state.labelled, validation, pool)

    def begin(pool: Pool | None, state: State) -> Begun:
        return steps.begin(state, data(pool, state))

    state = jax.eval_shape(
        steps.start,
        *(jax.ShapeDtypeStruct((), jax.random.key(0).dtype), inputs(num_initial), rows(num_initial)),
        *(rows(num_initial, *dataset.labels.shape[1:]), shape_of((size,), bool)),
        {name: shape_of((), jnp.float32) for name in values},
    )
    memory = without_pool(
        "acquisition.init",
        acquisition.init,
        lambda pool, key, available: steps.remember(key, available, pool and pool.inputs),
        *(state.key, state.available),
    )
    state, learned = without_pool(
        "posterior.fit",
        posterior.fit,
        lambda pool, *args: steps.learn(args[0], pool and pool.inputs, *args[1:]),
        *(state, validation, test),
    )
    state = state._replace(memory=memory)
    begun = without_pool(
        "acquisition.prepare",
        acquisition.prepare,
        lambda pool, state: on_mesh(begin, mesh, EVERYWHERE, EVERYWHERE)(pool, state),
        state,
    )
    summary = without_pool(
        "acquisition.summarise",
        acquisition.summarise,
        lambda pool, state, begun, *x: acquisition.summarise(steps.as_round(state, data(pool, state), begun), *x),
        *(state, begun, inputs(count), rows(count)),
    )
    without_pool(
        "acquisition.select",
        acquisition.select,
        lambda pool, state, learned, *rest: steps.finish(state, learned, data(pool, state), *rest),
        *(state, learned, begun, rows(count), summary),
    )


def _numbers(rows: Array | None, size: int) -> Array:
    """The rows offered: all where they were not drawn."""
    return jnp.arange(size) if rows is None else rows
