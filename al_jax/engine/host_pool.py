"""The same campaign with the pool on the host: it streams through the devices in pieces and never lies there whole.

On a device there is, whatever the number N of pool rows: two pieces of the pool, one that is scored and one that comes
next, and the labelled buffers, parameters and draws of all seeds. What grows with N are the masks of available rows (a
byte a row and seed) and the summaries: a float a row and seed of a pointwise score, the features of core-set. Summaries
are collected on the host, and lie on the device for `select`, one group of seeds after the other. Of a random subset or
a shortlist of m rows only m rows are summarised. An acquisition that does not look at its rows (random) has none read.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from al_jax.data import Dataset
from al_jax.data.dataset import take
from al_jax.engine import parallel
from al_jax.engine.compiled import Compiled, full_buffer, transfers
from al_jax.engine.cycle import TEST_SPEC, Begun, State, Steps, keys
from al_jax.engine.host_pass import PIECE_BYTES, compile_pass, shape_of
from al_jax.engine.parallel import Layout
from al_jax.mesh import EVERYWHERE, on_mesh, one_by_one_on_cpu
from al_jax.models.forward import num_rows
from al_jax.pool import offered_rows, ranked, shortlisted
from al_jax.types import Data, Labelled, Pool, RoundInfo


def compile_host_pool(
    steps: Steps,
    dataset: Dataset,
    seeds: Sequence[int],
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
    check_pool_is_not_read(steps, dataset, rows.shape[1], validation, test, mesh)
    size = num_rows(dataset.inputs)
    subset = size if steps.pool_subset is None else min(steps.pool_subset, size)

    def start(*args: Any) -> State:
        return steps.start(*args, jnp.ones(size, bool), None)

    def begin(state: State, validation: Labelled | None, test: Labelled) -> tuple[State, Begun, Array | None]:
        data = Data(state.labelled, validation)
        state, info = steps.fit(state, data)
        return state, *after_fit(state, info, data, test)

    @one_by_one_on_cpu
    def after_fit(state: State, info: dict[str, Array], data: Data, test: Labelled) -> tuple[Begun, Array | None]:
        rows = offered_rows(keys(state).pool, state.available, subset) if subset < size else None
        specs = EVERYWHERE, EVERYWHERE, EVERYWHERE, TEST_SPEC
        return on_mesh(steps.begin, mesh, *specs)(state, info, data, test), rows

    @one_by_one_on_cpu
    def keep(state: State, rows: Array | None, scores: Array) -> Array:
        return shortlisted(keys(state).pool, _numbers(rows, size), scores, state.available, m)

    @one_by_one_on_cpu
    def finish(state: State, validation: Labelled | None, begun: Begun, rows: Array | None, summary: Any) -> RoundInfo:
        return steps.finish(state, Data(state.labelled, validation), begun, _numbers(rows, size), summary)

    began = time.perf_counter()
    first = jax.vmap(jax.random.key)(jnp.asarray(seeds)), take(dataset.inputs, rows), rows, dataset.labels[rows]
    starts = parallel.split(first, layout)
    init = parallel.compile_over_seeds(start, layout, (True,) * 4, *starts[0])
    states = [init(*group) for group in starts]
    begins = parallel.compile_over_seeds(begin, layout, (True, False, False), states[0], validation, test)
    state, begun, offered = begins.out_info
    _, m = steps.acquisition.shortlist or (None, subset)
    if m < subset:
        rank = compile_pass(
            lambda round, x, _: ranked(steps.acquisition, round, x),
            *(steps, layout, dataset.inputs, (state, validation, begun), offered, piece_bytes),
        )
        keeps = parallel.compile_over_seeds(keep, layout, (True,) * 3, state, offered, rank.found)
        offered = keeps.out_info
    score = compile_pass(
        steps.acquisition.summarise,
        *(steps, layout, dataset.inputs, (state, validation, begun), offered, piece_bytes),
    )
    finishes = parallel.compile_over_seeds(
        finish, layout, (True, False, True, True, True), state, validation, begun, offered, score.found
    )
    batch, join, split = transfers(dataset, layout)
    blank = np.zeros((len(seeds), batch_size), np.int32)

    absorb = parallel.compile_over_seeds(
        steps.absorb, layout, (True,) * 5, states[0], *batch(blank, dataset.labels[blank], blank > 0)[0]
    )
    passes = [score.executable, *([rank.executable] if m < subset else [])]
    parallel.check_memory(
        [init, begins, *passes, finishes, absorb], parallel.shapes(state, layout, of_seeds=True), layout
    )
    compile_seconds = time.perf_counter() - began

    def propose_all(groups: list[State]) -> tuple[list[State], RoundInfo]:
        fitted, begun, rows = map(list, zip(*(begins(group, validation, test) for group in groups), strict=True))
        if m < subset:
            rows = [keeps(*group) for group in zip(fitted, rows, rank.run(fitted, begun, rows), strict=True)]
        summaries = score.run(fitted, begun, rows)
        infos = [
            finishes(state, validation, *group) for state, *group in zip(fitted, begun, rows, summaries, strict=True)
        ]
        return fitted, parallel.join(infos, layout)

    def absorb_all(groups: list[State], rows: np.ndarray, labels: np.ndarray, answered: np.ndarray) -> list[State]:
        return [absorb(group, *part) for group, part in zip(groups, batch(rows, labels, answered), strict=True)]

    shapes = jax.tree.map(lambda leaf: np.empty((len(seeds), *leaf.shape[2:]), leaf.dtype), finishes.out_info)
    return Compiled(states, propose_all, absorb_all, join, split, shapes, compile_seconds)


def check_pool_is_not_read(
    steps: Steps,
    dataset: Dataset,
    num_initial: int,
    validation: Labelled | None,
    test: Labelled,
    mesh: Mesh | None = None,
) -> None:
    """ValueError, naming the function, when the posterior or the acquisition does not work without a pool.

    Every function is traced without one, and where that fails once more with it, so that other errors stay what they
    are. Nothing is computed.
    """
    posterior, acquisition, size = steps.posterior, steps.acquisition, num_rows(dataset.inputs)
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

    def begin(pool: Pool | None, state: State, info: dict[str, Array], test: Labelled) -> Begun:
        return steps.begin(state, info, data(pool, state), test)

    state = without_pool(
        "acquisition.init",
        acquisition.init,
        lambda pool, *args: steps.start(*args, jnp.ones(size, bool), pool and pool.inputs),
        jax.ShapeDtypeStruct((), jax.random.key(0).dtype),
        inputs(num_initial),
        rows(num_initial),
        rows(num_initial, *dataset.labels.shape[1:]),
    )
    state, info = without_pool(
        "posterior.fit", posterior.fit, lambda pool, state: steps.fit(state, data(pool, state)), state
    )
    begun = without_pool(
        "acquisition.prepare",
        acquisition.prepare,
        lambda pool, *args: on_mesh(begin, mesh, *(EVERYWHERE,) * 3, TEST_SPEC)(pool, *args, test),
        *(state, info),
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
        lambda pool, state, *rest: steps.finish(state, data(pool, state), *rest),
        *(state, begun, rows(count), summary),
    )


def _numbers(rows: Array | None, size: int) -> Array:
    """The rows offered: all where they were not drawn."""
    return jnp.arange(size) if rows is None else rows
