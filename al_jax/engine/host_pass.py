"""Runs a function over a pool that is on the host: in pieces of one size, the next read while one is scored."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from al_jax.data.dataset import HostInputs
from al_jax.engine import lowering, parallel
from al_jax.engine.cycle import Begun, Steps
from al_jax.engine.parallel import Layout
from al_jax.engine.state import State
from al_jax.mesh import EVERYWHERE, OWN_PART, on_mesh, one_by_one_on_cpu
from al_jax.models.forward import num_rows
from al_jax.pool import stream
from al_jax.types import Data, Inputs, Labelled, Round

PIECE_BYTES = 2**25
"""Of the pool, read and put on the devices at once: scoring them takes long enough to read the next meanwhile."""


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

    @one_by_one_on_cpu
    def program(state: State, validation: Labelled | None, begun: Begun, x_and_rows: tuple[Inputs, Array]) -> Any:
        specs = *(EVERYWHERE,) * 3, EVERYWHERE if mapped else OWN_PART
        return on_mesh(of_piece, mesh, *specs)(state, validation, begun, x_and_rows)

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
        return shape_of(shape, dtype, NamedSharding(layout.mesh, spec))

    x = jax.tree.map(lambda leaf: placed((*lead, piece, *leaf.shape[1:]), leaf.dtype, lies), inputs)
    x_and_rows = x, placed((*lead, piece), jnp.int32, lies)
    compiled = lowering.compile_over_seeds(program, layout, (True, False, True, mapped), *known, x_and_rows)

    state, validation, begun = known
    one_state, one_begun = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), (state, begun))
    one_x = jax.tree.map(lambda leaf: shape_of((chunk, *leaf.shape[1:]), leaf.dtype), inputs)
    looks = is_read(of_chunk, one_x, shape_of((chunk,), jnp.int32), one_state, validation, one_begun)
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


def shape_of(shape: tuple[int, ...], dtype: Any, sharding: NamedSharding | None = None) -> Any:
    """Of an array of the host as a device holds it."""
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype), sharding=sharding)


def _write(found: Any, part: Any, start: int) -> None:
    """`part [devices, width, piece, ...]` to its place in `found [devices, width, n, ...]`, without the padding."""

    def place(whole: np.ndarray, piece: Array) -> None:
        room = whole[:, :, start : start + piece.shape[2]]
        room[...] = np.asarray(piece)[:, :, : room.shape[2]]

    jax.tree.map(place, found, part)
