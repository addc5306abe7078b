"""The same campaign with the pool on the host: it streams through the devices in pieces and never lies there whole.

On a device there is, whatever the number N of pool rows: two pieces of the pool, one that is scored and one that comes
next, and the labelled buffers, parameters and draws of all seeds. What grows with N are the masks of available rows (a
byte a row and seed) and the summaries: a float a row and seed of a pointwise score, the features of core-set. Summaries
are collected on the host, and lie on the device for `select`, one group of seeds after the other. Of a random subset or
a shortlist of m rows only m rows are summarised. An acquisition that does not look at its rows (random) has none read.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from al_jax import parallel
from al_jax.compiled import Compiled, full_buffer
from al_jax.cycle import TEST_SPEC, Begun, State, Steps, keys
from al_jax.data import Dataset
from al_jax.data.dataset import HostInputs, take
from al_jax.models.forward import num_rows
from al_jax.parallel import EVERYWHERE, OWN_PART, Layout
from al_jax.pool import offered_rows, ranked, shortlisted, stream
from al_jax.types import Data, Inputs, Labelled, Pool, Round, RoundInfo

PIECE_BYTES = 2**25
"""Of the pool, read and put on the devices at once: scoring them takes long enough to read the next meanwhile."""


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

    @parallel.one_by_one_on_cpu
    def after_fit(state: State, info: dict[str, Array], data: Data, test: Labelled) -> tuple[Begun, Array | None]:
        rows = offered_rows(keys(state).pool, state.available, subset) if subset < size else None
        specs = EVERYWHERE, EVERYWHERE, EVERYWHERE, TEST_SPEC
        return parallel.on_mesh(steps.begin, mesh, *specs)(state, info, data, test), rows

    @parallel.one_by_one_on_cpu
    def keep(state: State, rows: Array | None, scores: Array) -> Array:
        return shortlisted(keys(state).pool, _numbers(rows, size), scores, state.available, m)

    @parallel.one_by_one_on_cpu
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
    blank = np.zeros((len(seeds), batch_size), np.int32)

    def batch(rows: np.ndarray, labels: np.ndarray, answered: np.ndarray) -> list[tuple[Any, ...]]:
        return parallel.split((take(dataset.inputs, rows), rows, labels, answered), layout)

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

    def join(groups: list[State]) -> State:
        return parallel.join([group._replace(key=jax.random.key_data(group.key)) for group in groups], layout)

    def split(state: State) -> list[State]:
        return parallel.split(state._replace(key=jax.random.wrap_key_data(jnp.asarray(state.key))), layout)

    shapes = jax.tree.map(lambda leaf: np.empty((len(seeds), *leaf.shape[2:]), leaf.dtype), finishes.out_info)
    return Compiled(states, propose_all, absorb_all, join, split, shapes, compile_seconds)


class Pass(NamedTuple):
    """A function of pool rows that runs over all n that are offered: the pool, or other rows for every seed."""

    run: Callable[..., list[Any]]  # (states, begun, rows offered) of all groups -> what it finds for them
    found: Any  # shapes and types of what it finds for a group, [devices, width, n, ...]
    executable: Any


def compile_pass(
    function: Callable[[Round, Inputs, Array], Any],
    steps: Steps,
    layout: Layout,
    inputs: HostInputs,
    known: tuple[State, Labelled | None, Begun],
    offered: Array | None,
    piece_bytes: int,
) -> Pass:
    """Compile `function(round, x [c, ...], rows [c])`, chunk by chunk over pieces of the pool, all of one size.

    `known` are state and begun round of a group, the validation set between them, and `offered` its rows
    `[devices, width, n]`, or None where all seeds are shown all rows in order; of the group only shapes count.
    """
    mapped, mesh = offered is not None, layout.mesh if layout.mode == "pool" else None
    lead = (layout.blocks[1], layout.width) if mapped else ()
    size = num_rows(inputs) if offered is None else offered.shape[-1]
    chunk = min(steps.chunk_size, size)
    least = chunk * (1 if mesh is None else mesh.size)  # a chunk for every device that scores rows of its own
    row_bytes = sum(math.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in jax.tree.leaves(inputs))
    parts, most = -(-size // least), max(piece_bytes // (row_bytes * least * math.prod(lead)), 1)
    piece = least * -(-parts // -(-parts // most))  # pieces are about equally long: little of the last is padding

    @parallel.one_by_one_on_cpu
    def program(state: State, validation: Labelled | None, begun: Begun, x_and_rows: tuple[Inputs, Array]) -> Any:
        specs = *(EVERYWHERE,) * 3, EVERYWHERE if mapped else OWN_PART
        return parallel.on_mesh(of_piece, mesh, *specs)(state, validation, begun, x_and_rows)

    def of_piece(state: State, validation: Labelled | None, begun: Begun, x_and_rows: tuple[Inputs, Array]) -> Any:
        def one(x_and_rows: tuple[Inputs, Array], _: Array) -> Any:
            return of_chunk(*x_and_rows, state, validation, begun)

        return stream(one, x_and_rows, jnp.arange(piece), chunk, mesh, placed=mesh is not None and not mapped)

    def of_chunk(x: Inputs, rows: Array, state: State, validation: Labelled | None, begun: Begun) -> Any:
        return function(steps.as_round(state, Data(state.labelled, validation), begun), x, rows)

    of_seeds = PartitionSpec("replicas") if mesh is None else PartitionSpec()
    of_rows = PartitionSpec() if mesh is None else PartitionSpec("pool")
    lies = of_seeds if mapped else of_rows

    def put(tree: Any, spec: PartitionSpec) -> Any:
        return parallel.put(tree, layout, spec)

    def placed(shape: tuple[int, ...], dtype: Any, spec: PartitionSpec) -> Any:
        return _shape(shape, dtype, NamedSharding(layout.mesh, spec))

    x = jax.tree.map(lambda leaf: placed((*lead, piece, *leaf.shape[1:]), leaf.dtype, lies), inputs)
    x_and_rows = x, placed((*lead, piece), jnp.int32, lies)
    compiled = parallel.compile_over_seeds(program, layout, (True, False, True, mapped), *known, x_and_rows)

    state, validation, begun = known
    one_state, one_begun = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), (state, begun))
    one_x = jax.tree.map(lambda leaf: _shape((chunk, *leaf.shape[1:]), leaf.dtype), inputs)
    looks = is_read(of_chunk, one_x, _shape((chunk,), jnp.int32), one_state, validation, one_begun)
    blank = None if looks else put(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), x), lies)

    def read(rows: np.ndarray | None, start: int) -> tuple[Inputs, Array]:
        """x and rows of the piece from `start` on, on the devices; the last is filled by repeating its own rows."""
        length = min(piece, size - start)
        places = np.arange(piece) % length
        numbers = (start + places).astype(np.int32) if rows is None else rows[..., start + places]

        def part(leaf: np.ndarray) -> np.ndarray:
            if rows is not None:
                return leaf[numbers]
            block = np.array(leaf[start : start + length])  # a copy: here, in the background, a file is read
            return block if length == piece else block[places]

        return put(jax.tree.map(part, inputs), lies) if blank is None else blank, put(numbers, lies)

    def run(states: Sequence[State], begun: Sequence[Begun], offered: Sequence[Array | None]) -> list[Any]:
        found = [jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes) for _ in states]
        # Pieces of the pool are read once for all groups, pieces of other rows for every group.
        everyone: list[Any] = [(range(len(states)), None)]
        shown = [([group], np.asarray(rows)) for group, rows in enumerate(offered)] if mapped else everyone
        turns = [(groups, rows, start) for groups, rows in shown for start in range(0, size, piece)]
        pieces = read_ahead(read, [(rows, start) for _, rows, start in turns])
        for (groups, _, start), x_and_rows in zip(turns, pieces, strict=True):
            parts = [compiled(states[group], validation, begun[group], x_and_rows) for group in groups]
            for group, part in zip(groups, parts, strict=True):
                _write(found[group], part, start)
        return [put(tree, of_seeds) for tree in found]

    shapes = jax.tree.map(
        lambda leaf: placed((*leaf.shape[:2], size, *leaf.shape[3:]), leaf.dtype, of_seeds), compiled.out_info
    )
    return Pass(run, shapes, compiled)


def read_ahead(read: Callable, places: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """`read(*place)` for one place after the other; a thread reads the next one while this one is used."""
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, *places[0])
        for place in places[1:]:
            ready, ahead = ahead.result(), reader.submit(read, *place)
            yield ready
        yield ahead.result()


def is_read(function: Callable, x: Inputs, *args: Any) -> bool:
    """Whether `function(x, *args)` computes with any array of `x`. Shapes suffice; nothing is computed."""
    program = jax.make_jaxpr(function)(x, *args).jaxpr
    used = [*program.outvars, *(variable for equation in program.eqns for variable in equation.invars)]
    return any(variable is other for variable in program.invars[: len(jax.tree.leaves(x))] for other in used)


def check_pool_is_not_read(
    steps: Steps, dataset: Dataset, num_initial: int, validation: Labelled | None, test: Labelled, mesh: Mesh | None
) -> None:
    """ValueError, naming the function, when the posterior or the acquisition does not work without a pool.

    Every function is traced without one, and where that fails once more with it, so that other errors stay what they
    are. Nothing is computed.
    """
    posterior, acquisition, size = steps.posterior, steps.acquisition, num_rows(dataset.inputs)
    count = min(size, steps.pool_subset or size, acquisition.shortlist[1] if acquisition.shortlist else size)

    def inputs(count: int) -> Any:
        return jax.tree.map(lambda leaf: _shape((count, *leaf.shape[1:]), leaf.dtype), dataset.inputs)

    def rows(count: int, *axes: int) -> Any:
        return _shape((count, *axes), jnp.int32)

    whole = Pool(inputs(size), _shape((size,), bool))

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
        lambda pool, *args: parallel.on_mesh(begin, mesh, *(EVERYWHERE,) * 3, TEST_SPEC)(pool, *args, test),
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


def _shape(shape: tuple[int, ...], dtype: Any, sharding: NamedSharding | None = None) -> Any:
    """Of an array of the host as a device holds it."""
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype), sharding=sharding)


def _numbers(rows: Array | None, size: int) -> Array:
    """The rows offered: all where they were not drawn."""
    return jnp.arange(size) if rows is None else rows


def _write(found: Any, part: Any, start: int) -> None:
    """`part [devices, width, piece, ...]` to its place in `found [devices, width, n, ...]`, without the padding."""

    def place(whole: np.ndarray, piece: Array) -> None:
        room = whole[:, :, start : start + piece.shape[2]]
        room[...] = np.asarray(piece)[:, :, : room.shape[2]]

    jax.tree.map(place, found, part)
