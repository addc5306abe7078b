"""A cycle compiled for many seeds on this machine's devices."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from al_jax.data import Dataset
from al_jax.data.dataset import take
from al_jax.engine import parallel
from al_jax.engine.cycle import State
from al_jax.engine.parallel import Layout
from al_jax.types import Cycle, Inputs, Labelled, PRNGKey, RoundInfo


class Compiled(NamedTuple):
    """A cycle compiled for all seeds on this machine's devices; lists of states are as `parallel.split` lays them."""

    states: list[State]
    propose: Callable[[list[State]], tuple[list[State], RoundInfo]]  # RoundInfo on the host, [S, ...]
    absorb: Callable[[list[State], np.ndarray, np.ndarray, np.ndarray], list[State]]  # rows, labels, answered [S, B]
    join: Callable[[list[State]], State]  # on the host, [S, ...]
    split: Callable[[State], list[State]]  # the inverse of `join`
    info: RoundInfo  # shapes and types, [S, ...]
    compile_seconds: float


def compile_cycle(
    programs: Cycle, dataset: Dataset, seeds: Sequence[int], rows: np.ndarray, batch_size: int, layout: Layout
) -> Compiled:
    """Initialise all seeds from `rows [S, m]` and compile `propose` and `absorb`, once each.

    An executable cannot compile again: called with another shape it raises.
    """
    test, validation = full_buffer((), dataset.test_labels), None
    if dataset.validation_labels is not None:
        validation = full_buffer(dataset.validation_inputs, dataset.validation_labels)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    first = parallel.split((keys, rows, dataset.labels[rows]), layout)

    def init_all_available(key: PRNGKey, rows: Array, labels: Array, inputs: Inputs) -> State:
        return programs.init(key, inputs, rows, labels, jnp.ones(len(dataset.labels), bool))

    began = time.perf_counter()
    # From shapes alone: what does not fit into the memory is found before anything is put there.
    of_pool, of_test = (parallel.row_shapes(inputs, layout) for inputs in (dataset.inputs, dataset.test_inputs))
    rest = parallel.shapes(validation, layout), parallel.shapes(test, layout)._replace(inputs=of_test)
    init = parallel.compile_over_seeds(init_all_available, layout, (True, True, True, False), *first[0], of_pool)
    state = parallel.shapes(init.out_info, layout, of_seeds=True)
    propose = parallel.compile_over_seeds(programs.propose, layout, (True, False, False, False), state, of_pool, *rest)
    batch, join, split = transfers(dataset, layout)
    blank = np.zeros((len(seeds), batch_size), np.int32)

    absorb = parallel.compile_over_seeds(
        programs.absorb, layout, (True,) * 5, state, *batch(blank, dataset.labels[blank], blank > 0)[0]
    )
    parallel.check_memory([init, propose, absorb], state, layout)
    compile_seconds = time.perf_counter() - began
    inputs, validation = parallel.place_rows(dataset.inputs, layout), parallel.replicate(validation, layout)
    test = parallel.replicate(test, layout)._replace(inputs=parallel.place_rows(dataset.test_inputs, layout))
    states = [init(*group, inputs) for group in first]

    def propose_all(groups: list[State]) -> tuple[list[State], RoundInfo]:
        results = [propose(group, inputs, validation, test) for group in groups]
        return [state for state, _ in results], parallel.join([info for _, info in results], layout)

    def absorb_all(groups: list[State], rows: np.ndarray, labels: np.ndarray, answered: np.ndarray) -> list[State]:
        return [absorb(group, *part) for group, part in zip(groups, batch(rows, labels, answered), strict=True)]

    shapes = jax.tree.map(lambda leaf: np.empty((len(seeds), *leaf.shape[2:]), leaf.dtype), propose.out_info[1])
    return Compiled(states, propose_all, absorb_all, join, split, shapes, compile_seconds)


class Transfers(NamedTuple):
    """What goes from the host to the devices' groups and back."""

    batch: Callable[..., list[tuple[Any, ...]]]  # rows, labels, answered [S, B] -> the arguments of `absorb`
    join: Callable[[list[State]], State]
    split: Callable[[State], list[State]]


def transfers(dataset: Dataset, layout: Layout) -> Transfers:
    """Answered rows with their inputs, and states of all seeds `[S, ...]` in both directions."""

    def batch(rows: np.ndarray, labels: np.ndarray, answered: np.ndarray) -> list[tuple[Any, ...]]:
        return parallel.split((take(dataset.inputs, rows), rows, labels, answered), layout)

    def join(groups: list[State]) -> State:
        return parallel.join([group._replace(key=jax.random.key_data(group.key)) for group in groups], layout)

    def split(state: State) -> list[State]:
        return parallel.split(state._replace(key=jax.random.wrap_key_data(jnp.asarray(state.key))), layout)

    return Transfers(batch, join, split)


def full_buffer(inputs: Inputs, labels: np.ndarray) -> Labelled:
    """A whole split, test or validation, as `Labelled` with every slot taken."""
    size = len(labels)
    arrays: tuple[Any, ...] = (labels, np.ones(size, np.float32), np.arange(size, dtype=np.int32), np.int32(size))
    return Labelled(inputs, *arrays)
