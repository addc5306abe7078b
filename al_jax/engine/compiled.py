"""A cycle compiled for many seeds on this machine's devices."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from al_jax.data import Dataset
from al_jax.data.dataset import take
from al_jax.engine import lowering, parallel
from al_jax.engine.parallel import Layout
from al_jax.engine.state import State
from al_jax.sweep import Repetition, columns
from al_jax.types import Cycle, Inputs, Labelled, RoundInfo


class Compiled(NamedTuple):
    """A cycle compiled for all seeds on this machine's devices; lists of states are as `parallel.split` lays them."""

    states: list[State]
    propose: Callable[[list[State]], tuple[list[State], RoundInfo]]  # RoundInfo on the host, [S, ...]
    absorb: Callable[..., list[State]]  # states, and of `[S, B]` rows, labels, answered, excluded, twins if there are
    join: Callable[[list[State]], State]  # on the host, [S, ...]
    split: Callable[[State], list[State]]  # the inverse of `join`
    info: RoundInfo  # shapes and types, [S, ...]
    compile_seconds: float


def compile_cycle(
    programs: Cycle,
    dataset: Dataset,
    repetitions: Sequence[Repetition],
    rows: np.ndarray,
    batch_size: int,
    layout: Layout,
) -> Compiled:
    """Initialise all repetitions from `rows [S, m]` and compile the programs of `Cycle`, once each.

    Those that know no acquisition are found again when a process compiles them for another one. An executable cannot
    compile again: called with another shape it raises.
    """
    test, validation = full_buffer((), dataset.test_labels), None
    if dataset.validation_labels is not None:
        validation = full_buffer(dataset.validation_inputs, dataset.validation_labels)
    first = parallel.split(beginnings(dataset, repetitions, rows), layout)
    available = parallel.replicate(np.ones(len(dataset.labels), bool), layout)

    began = time.perf_counter()
    # From shapes alone: what does not fit into the memory is found before anything is put there.
    of_pool, of_test = (parallel.row_shapes(inputs, layout) for inputs in (dataset.inputs, dataset.test_inputs))
    of_validation = parallel.shapes(validation, layout)
    of_test = parallel.shapes(test, layout)._replace(inputs=of_test)
    start = lowering.lower_over_seeds(programs.start, layout, FROM_SEEDS, *first[0][:4], available, first[0][4])
    blank = parallel.shapes(start.out_info, layout, of_seeds=True)
    remembering = first[0][0], blank.available, of_pool
    remember = lowering.lower_over_seeds(programs.remember, layout, (True, True, False), *remembering)
    state = blank._replace(memory=parallel.shapes(remember.out_info, layout, of_seeds=True))
    learn = lowering.lower_over_seeds(
        programs.learn, layout, (True, False, False, False), blank, of_pool, of_validation, of_test
    )
    of_learned = parallel.shapes(learn.out_info[1], layout, of_seeds=True)
    choose = lowering.lower_over_seeds(
        programs.choose, layout, (True, True, False, False), state, of_learned, of_pool, of_validation
    )
    batch, join, split = transfers(dataset, layout)
    told = choose.out_info.info
    absorb = lower_absorb(programs.absorb, blank, batch, len(repetitions), batch_size, dataset, layout, "twins" in told)
    lowered = [start, remember, learn, choose, absorb]
    executables = dict(zip(Cycle._fields, lowering.compile_lowered(lowered), strict=True))
    lowering.check_memory(list(executables.values()), state, layout)
    compile_seconds = time.perf_counter() - began
    run = Cycle(**executables)
    inputs, validation = parallel.place_rows(dataset.inputs, layout), parallel.replicate(validation, layout)
    test = parallel.replicate(test, layout)._replace(inputs=parallel.place_rows(dataset.test_inputs, layout))

    def begin(group: tuple[Any, ...]) -> State:
        state = run.start(*group[:4], available, group[4])
        return state._replace(memory=run.remember(group[0], state.available, inputs))

    states = [begin(group) for group in first]

    def propose(state: State) -> tuple[State, RoundInfo]:
        fitted, learned = run.learn(state._replace(memory=None), inputs, validation, test)
        state = fitted._replace(memory=state.memory)
        return state, run.choose(state, learned, inputs, validation)

    def propose_all(groups: list[State]) -> tuple[list[State], RoundInfo]:
        results = [propose(group) for group in groups]
        return [state for state, _ in results], parallel.join([info for _, info in results], layout)

    def absorb_all(groups: list[State], *told: np.ndarray) -> list[State]:
        answers = batch(*told)
        return [absorbed(run.absorb, group, part) for group, part in zip(groups, answers, strict=True)]

    shapes = jax.tree.map(lambda leaf: np.empty((len(repetitions), *leaf.shape[2:]), leaf.dtype), choose.out_info)
    return Compiled(states, propose_all, absorb_all, join, split, shapes, compile_seconds)


FROM_SEEDS = (True, True, True, True, False, True)
"""Which arguments of `start` each seed has of its own."""


def beginnings(dataset: Dataset, repetitions: Sequence[Repetition], rows: np.ndarray) -> tuple[Any, ...]:
    """What `start` is given of its own, for all: keys, inputs, rows and labels at the start, and swept numbers."""
    keys = jax.vmap(jax.random.key)(jnp.asarray([row.seed for row in repetitions]))
    return keys, take(dataset.inputs, rows), rows, dataset.labels[rows], columns(repetitions)


def lower_absorb(
    absorb: Callable[..., State],
    state: State,
    batch: Callable[..., list[tuple[Any, ...]]],
    seeds: int,
    batch_size: int,
    dataset: Dataset,
    layout: Layout,
    twins: bool = False,
) -> lowering.Lowered:
    """`absorb` for a state without parameters and memory: they pass through, and need not be copied."""
    rows = np.zeros((seeds, batch_size), np.int32)
    answers = batch(rows, dataset.labels[rows], rows > 0, rows > 0, *([take(dataset.inputs, rows)] if twins else []))[0]
    return lowering.lower_over_seeds(absorb, layout, (True,) * (1 + len(answers)), _bare(state), *answers)


def absorbed(absorb: Callable[..., State], state: State, answers: tuple[Any, ...]) -> State:
    """What the program of `lower_absorb` makes of a whole state."""
    return absorb(_bare(state), *answers)._replace(posterior=state.posterior, memory=state.memory)


def _bare(state: State) -> State:
    return state._replace(posterior=None, memory=None)


class Transfers(NamedTuple):
    """What goes from the host to the devices' groups and back."""

    batch: Callable[..., list[tuple[Any, ...]]]  # of `absorb`, from rows, labels, answered, excluded [S, B] and twins
    join: Callable[[list[State]], State]
    split: Callable[[State], list[State]]


def transfers(dataset: Dataset, layout: Layout) -> Transfers:
    """Answered rows with their inputs, and states of all seeds `[S, ...]` in both directions."""

    def batch(rows: np.ndarray, *told: Any) -> list[tuple[Any, ...]]:
        return parallel.split((take(dataset.inputs, rows), rows, *told), layout)

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
