"""A task made ready, and campaigns on it that keep the fitted posterior of every round."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from al_jax import campaign
from al_jax.campaign import Campaign
from al_jax.campaign.records import Settings
from al_jax.campaign.store import Store
from al_jax.data import Dataset
from al_jax.data.dataset import num_classes
from al_jax.engine import chunks, parallel
from al_jax.engine.compiled import full_buffer
from al_jax.lab.show import Report
from al_jax.lab.tasks import Task, task
from al_jax.sweep import UNSWEPT, Recipe, Sweep, at, settings_of
from al_jax.types import Acquisition, Cycle, Labelled


class Ready(NamedTuple):
    """A task with its data loaded and every setting decided."""

    name: str
    dataset: Dataset
    posterior: Recipe
    settings: Settings
    keep_states: bool
    sweep: Sweep | None = None


class Snapshot(NamedTuple):
    """A round between its fit and its labels. With the seed it determines all that the round computed."""

    rows: np.ndarray  # int32 [S, M] of the labelled buffer, in the order acquired; -1 past num_labelled
    num_labelled: np.ndarray  # int32 [S]
    wanted: np.ndarray  # bool [S, B] which proposed rows were labelled; none of a seed that was stopped
    posterior: Any  # [S, ...]


class Recorded(NamedTuple):
    """A campaign and its snapshots: `snapshot(round)`, or None where the task keeps no states."""

    campaign: Campaign
    snapshot: Callable[[int], Snapshot] | None
    stored: bool  # read from disk, not run now


def start() -> None:
    """Keep compiled programs on disk and, unless JAX has begun, make a CPU device of every core: seeds run on each.

    What is acquired does not depend on the number of devices. What had to be decided before JAX began is left alone.
    """
    parallel.enable_compilation_cache()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
        except RuntimeError:
            return  # JAX has begun: its devices will do


def ready(name: str | Task, seeds: int | None = None, sweep: Sweep | None = None) -> Ready:
    """Load the task's data and build its posterior; ValueError for an unknown task, a regression, or unfit settings."""
    chosen = task(name) if seeds is None else task(name, seeds=seeds)
    dataset = campaign.validate(chosen.dataset(), chosen.settings)
    num_classes(dataset)
    settings, keep_states = chosen.settings, chosen.keep_states and not sweep
    posterior = functools.partial(chosen.posterior, dataset) if sweep else chosen.posterior(dataset)
    first = at(posterior, settings_of(posterior, sweep)[0])
    if settings.chunk_size is None:
        size = chunks.automatic(first, dataset.inputs, settings.num_samples)
        settings = dataclasses.replace(settings, chunk_size=size)
    return Ready(chosen.name, dataset, posterior, settings, keep_states, sweep)


def abstract_state(ready: Ready, functions: Cycle, rows: np.ndarray) -> Any:
    """The shapes of a first state from pool rows int [m]."""
    dataset = ready.dataset
    first = jax.random.key(0), dataset.inputs, rows, dataset.labels[rows]
    return jax.eval_shape(functions.init, *first, values=settings_of(ready.posterior, ready.sweep)[0])


def splits(dataset: Dataset) -> tuple[Labelled | None, Labelled]:
    """The validation rows, where there are any, and the test rows, as a round takes them."""
    test = full_buffer(dataset.test_inputs, dataset.test_labels)
    if dataset.validation_labels is None:
        return None, test
    return full_buffer(dataset.validation_inputs, dataset.validation_labels), test


def record(
    ready: Ready,
    acquisition: Acquisition,
    method: str,
    keep: Callable[[int, Snapshot], None],
    console: Console | None,
    report: Report,
    results: Store | None = None,
) -> Campaign:
    """Run the campaign; `keep(round, snapshot)` is called before the labels of each round are given."""
    if acquisition.twins and ready.keep_states:
        raise ValueError(f"{method} generates rows, which a replay cannot know: expected a task with keep_states=False")
    settings, labels = ready.settings, ready.dataset.labels
    total = -(-(settings.max_labels - settings.initial_labels) // settings.batch_size)
    report(f"{method}: compiling", 0, total)
    how = {"method": method, "results": results, "console": console, "sweep": ready.sweep}
    loop = campaign.rounds(ready.posterior, acquisition, ready.dataset, settings, **how)
    try:
        proposed = next(loop)
        while True:
            report(method, proposed.round, total)
            if ready.keep_states:
                state = proposed.state()
                count, rows = state.labelled.count, np.asarray(state.labelled.rows)
                rows = np.where(np.arange(rows.shape[1]) < count[:, None], rows, -1)
                keep(proposed.round, Snapshot(rows, np.asarray(count), proposed.wanted, state.posterior))
            proposed = loop.send((labels[np.asarray(proposed.info.rows)], proposed.wanted))
    except StopIteration as end:
        return end.value


def in_memory(ready: Ready, acquisition: Acquisition, method: str, console: Console | None, report: Report) -> Recorded:
    """Run a campaign that leaves nothing on the disk."""
    snapshots: dict[int, Snapshot] = {}
    finished = record(ready, acquisition, method, snapshots.__setitem__, console, report)
    return Recorded(finished, snapshots.__getitem__ if ready.keep_states else None, stored=False)


def write(folder: Path, round: int, snapshot: Snapshot) -> None:
    """Keep the snapshot on disk, as a whole or not at all."""
    arrays = {f"posterior_{i:04}": leaf for i, leaf in enumerate(jax.tree.leaves(snapshot.posterior))}
    folder.mkdir(exist_ok=True)
    partial = folder / f"{round:04}.partial"
    with partial.open("wb") as file:
        np.savez(file, rows=snapshot.rows, num_labelled=snapshot.num_labelled, wanted=snapshot.wanted, **arrays)
    partial.replace(folder / f"{round:04}.npz")


def read(folder: Path, ready: Ready, round: int) -> Snapshot:
    """What `write` wrote."""
    row = jax.tree.map(lambda leaf: leaf[:1], ready.dataset.inputs)
    structure = jax.tree.structure(jax.eval_shape(at(ready.posterior, UNSWEPT).init, jax.random.key(0), row))
    with np.load(folder / f"{round:04}.npz") as arrays:
        leaves = [arrays[name] for name in sorted(arrays) if name.startswith("posterior_")]
        posterior = jax.tree.unflatten(structure, leaves)
        return Snapshot(arrays["rows"], arrays["num_labelled"], arrays["wanted"], posterior)


def reader(folder: Path, ready: Ready) -> Callable[[int], Snapshot] | None:
    """`Recorded.snapshot` of a campaign on disk."""
    return functools.partial(read, folder, ready) if ready.keep_states else None
