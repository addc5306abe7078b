"""The active-learning loop: rounds over seeds, an oracle, checkpoints, tables."""

import contextlib
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from al_jax.campaign import answers, checkpoint, model, outcome
from al_jax.campaign.checkpoint import pack, unpack
from al_jax.campaign.complaints import complaints
from al_jax.campaign.identity import identity
from al_jax.campaign.outcome import Campaign, refuse_all_stopped
from al_jax.campaign.outputs import check_outputs
from al_jax.campaign.records import Record, Settings, complete, seeds_of, stopped, tables, without_twins
from al_jax.campaign.setup import layout_of, programs, start_rows, validate, warn_of_leaks
from al_jax.campaign.store import Store, locked, log_start, write_json, write_table
from al_jax.data import Dataset
from al_jax.engine import chunks
from al_jax.engine.compiled import Compiled, compile_cycle
from al_jax.engine.host_pool import compile_host_pool
from al_jax.engine.processes import on_first
from al_jax.engine.state import State
from al_jax.sweep import Recipe, Repetition, Sweep, at, settings_of
from al_jax.types import Acquisition, Likelihood, RoundInfo

Oracle = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""`rows [S, B] -> (labels [S, B], answered bool [S, B])`; rows that are not answered stay in the pool.

A third array, `excluded bool [S, B]`, takes rows out of the pool that nobody can label.
"""


class Proposed(NamedTuple):
    """A round that waits for the labels of its rows."""

    round: int
    wanted: np.ndarray  # bool [S, B] which of `info.rows [S, B]` are to be labelled
    info: RoundInfo  # on the host, [S, ...]
    state: Callable[[], State]  # after the fit, fetched to the host, [S, ...]


class How(NamedTuple):
    """How a campaign is run, beside its settings: the further arguments of `run` and `rounds`.

    likelihood: the one given to the posterior; `categorical()` by default.
    method: name of the campaign in its tables and beside the progress bar.
    initial: pool rows int [S, initial_labels] that are labelled at the start, instead of random ones.
    results: from `open_store`: every round is checkpointed there, and a run that was killed continues.
    console: where the progress bar goes; None shows none.
    devices: of all processes, from `parallel.devices`; by default all there are.
    max_hours: end after the round in which they are over; with `results` the run can then be continued.
    stop: asked after every round, on process 0; True ends the run there, as `max_hours` does.
    keep_model: with `results`, keep the posterior of the last round there, for `load(folder).model(seed)`.
    sweep: numbers of the posterior to try, in all combinations: `{"learning_rate": [1e-4, 1e-3]}`. They are further
        rows of the axis S, so that nothing more is compiled; all settings of a seed have its initial rows and its
        randomness. `posterior` is then a function of these names, `lambda learning_rate: mc_dropout(...)`. The oracle
        is asked for [settings x seeds, B] rows.
    """

    likelihood: Likelihood | None = None
    method: str = "campaign"
    initial: np.ndarray | None = None
    results: Store | None = None
    console: Console | None = None
    devices: Sequence[jax.Device] | None = None
    max_hours: float | None = None
    stop: Callable[[], bool] | None = None
    keep_model: bool = False
    sweep: Sweep | None = None


def run(
    posterior: Recipe,
    acquisition: Acquisition,
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    oracle: Oracle | None = None,
    **how: Any,
) -> Campaign:
    """Run a campaign over all seeds: `propose` and `absorb` are compiled once each, before the first round.

    `how`: fields of `How`, by name. `oracle` answers for proposed rows; by default the labels of `dataset` do. Of
    several processes only process 0 asks.

    A seed whose training diverges is stopped there and keeps its earlier rounds; the others finish, and a warning says
    so. `Diverged`, which has the campaign, when every seed was stopped.
    A campaign ends below its budget when the pool is empty, for `oracle` may exclude rows. ValueError names what cannot
    work before anything is compiled; RuntimeError when the oracle neither answers nor excludes any row of a round.
    """
    with contextlib.closing(rounds(posterior, acquisition, dataset, settings, **how)) as loop:
        done = _answered(loop, dataset, oracle, How(**how).results)
    refuse_all_stopped(done)
    if done.stopped:
        seed, why = next(iter(done.stopped.items()))
        some = f"{len(done.stopped)} of {len(outcome.repetitions(done))} seeds"
        warnings.warn(f"{some} were stopped. Seed {seed}: {why}", RuntimeWarning, stacklevel=2)
    return done


def _answered(
    loop: Generator[Proposed, tuple[np.ndarray, ...], Campaign],
    dataset: Dataset,
    oracle: Oracle | None,
    results: Store | None,
) -> Campaign:
    """What the loop returns when the oracle, or the stored labels, have answered for all its rounds."""
    try:
        proposed = next(loop)
        while True:
            rows = np.asarray(proposed.info.rows)
            if oracle is None:
                told = np.asarray(dataset.labels)[rows], proposed.wanted
            else:
                told = on_first(functools.partial(oracle, rows))
            proposed = loop.send(told)
    except StopIteration as end:
        return end.value
    except BaseException:
        if results is not None and jax.process_count() == 1:  # others may never come to the same end
            checkpoint.wait(results)  # which is being written
        raise


def rounds(
    posterior: Recipe, acquisition: Acquisition, dataset: Dataset, settings: Settings | None = None, **how: Any
) -> Generator[Proposed, tuple[np.ndarray, ...], Campaign]:
    """`run` turned inside out, for whoever labels in their own time: yields each round that needs labels.

    Send what an `Oracle` returns for its `info.rows`; the generator's return value is the `Campaign`.
    Arguments and errors are those of `run`, an error in the answers ends the generator. With `results` a new generator
    continues with the round that was not answered.
    """
    likelihood, method, initial, results, console, devices, max_hours, stop, keep_model, sweep = How(**how)
    deadline = np.inf if max_hours is None else time.monotonic() + 3600 * max_hours
    if max_hours is not None and not max_hours > 0:
        raise ValueError(f"max_hours={max_hours}: expected a positive number of hours")
    if not method:
        raise ValueError(f"method={method!r}: expected a name, which its tables have")
    settings = settings or Settings()
    dataset = validate(dataset, settings)
    warn_of_leaks(dataset)
    swept = settings_of(posterior, sweep)
    repetitions = [Repetition(seed, values) for values in swept for seed in seeds_of(settings)]
    start = np.tile(start_rows(dataset, settings, initial), (len(swept), 1))
    check_outputs(posterior, dataset, swept)
    if likelihood is None and dataset.num_classes is None:
        raise ValueError(
            f"likelihood=None: expected the posterior's own, such as gaussian(), as {dataset.name} is a regression"
        )
    # Before the chunk size is chosen, for another machine may go on with another one, where it is allowed to.
    what = None if results is None else identity(posterior, acquisition, likelihood, dataset, settings, start, swept)
    if settings.chunk_size is None:
        chunk_size = chunks.automatic(at(posterior, swept[0]), dataset.inputs, settings.num_samples)
        settings = dataclasses.replace(settings, chunk_size=chunk_size)
    layout = layout_of(settings, devices, len(repetitions))
    functions = programs(posterior, acquisition, settings, likelihood, layout)
    with locked(results), _progress(console) as bar:
        done = None if results is None else checkpoint.last_round(results)
        if results is not None and what is not None and done is not None:
            checkpoint.check(results, done, what)
        total = -(-(settings.max_labels - settings.initial_labels) // settings.batch_size) + 1
        task = bar.add_task(method, total=total, note="compiling")
        compile_all: Callable[..., Compiled] = compile_host_pool if settings.pool_on == "host" else compile_cycle
        compiled = compile_all(functions, dataset, repetitions, start, settings.batch_size, layout)
        states, records = compiled.states, list[Record]()
        if results is not None and done is not None:
            states, records = unpack(results, done, compiled, dataset, settings)
        if results is not None and results.resumed:
            log_start(results.directory)
        said, in_time = set[str](), True
        while in_time and not (records and complete(records, settings)):
            began = time.perf_counter()
            states, info = compiled.propose(states)
            worked = time.perf_counter() - began
            wanted = answers.wanted(info, records, settings)
            labels = np.zeros((*wanted.shape, *dataset.labels.shape[1:]), dataset.labels.dtype)
            answered = excluded = wanted
            if wanted.any():
                told = yield Proposed(len(records), wanted, info, functools.partial(compiled.join, states))
                labels, answered, excluded = answers.checked(told, wanted, info, len(records), dataset, settings)
            began = time.perf_counter()
            info, twins = without_twins(info)
            states = compiled.absorb(states, np.asarray(info.rows), labels, answered, excluded, *twins)
            records.append(Record(info, labels, answered, np.asarray(worked + time.perf_counter() - began)))
            _warn_once(info, settings, said)
            if results is not None:
                checkpoint.save(results, len(records), pack(compiled, states, records, settings), what)
                _write_tables(results, *tables(records, settings, repetitions, dataset, start, method))
            metric = next((name for name in ("accuracy", "rmse") if name in info.metrics), None)
            reached = "" if metric is None else f", {metric} {info.metrics[metric].mean():.3f}"
            bar.update(task, completed=len(records), note=f"{info.num_labelled.max()} labels{reached}")
            in_time = on_first(lambda: time.monotonic() < deadline and not (stop is not None and stop()))
        of_rounds, acquired = tables(records, settings, repetitions, dataset, start, method)
        why, finished = stopped(records, repetitions), complete(records, settings)
        if results is not None:
            checkpoint.wait(results)
            _write_tables(results, of_rounds, acquired)
            if finished and keep_model:
                model.save(results.directory, dataset.inputs, compiled.join(states).posterior)
            if finished:
                summary = {"stopped": why, "compile_seconds": compiled.compile_seconds, "sweep": swept}
                write_json(results.directory / "summary.json", summary)
    left = of_rounds, acquired, why, compiled.compile_seconds, compiled.join(states), finished
    return Campaign(*left, posterior, sweep=swept)


def _warn_once(info: RoundInfo, settings: Settings, said: set[str]) -> None:
    """Warn of what is wrong with a round and was not said before."""
    for name, words in complaints(info, settings).items():
        if name not in said:
            said.add(name)
            warnings.warn(words, RuntimeWarning, stacklevel=5)  # the caller of `run`


def _write_tables(results: Store, rounds: pd.DataFrame, acquired: pd.DataFrame) -> None:
    write_table(results.directory / "rounds.csv", rounds)
    write_table(results.directory / "acquired.csv", acquired)


@contextlib.contextmanager
def _progress(console: Console | None) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("round {task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=console is None) as bar:
        yield bar
