"""Runs configured campaigns into results folders; shared by the experiment scripts."""

import contextlib
import dataclasses
import functools
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import pandas as pd
import tyro
from rich.console import Console

from al_jax import campaign, plots, results
from al_jax.campaign import Campaign, model, store
from al_jax.campaign.outputs import check_outputs
from al_jax.engine import parallel, processes
from al_jax.engine.compiled import full_buffer
from al_jax.engine.host_pool import check_pool_is_not_read
from al_jax.sweep import settings_of
from experiments.experiment import Built, Experiment, identity
from experiments.experiment import build as experiment_build

T = TypeVar("T")
Options = TypeVar("Options", bound="RunOptions")
console = Console()


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How to run; results do not depend on it."""

    results_dir: Path = Path("results")
    """Where results go: RESULTS_DIR/<experiment>/<hash of the configuration>/."""
    resume: bool = False
    """Continue an unfinished run from its last finished round; it acquires the rows it would have acquired."""
    allow_inexact: bool = False
    """Resume on another platform, version or thread-pool size, though the rows may then differ."""
    keep_model: bool = False
    """Keep the trained posteriors in the results, for al_jax.campaign.load(folder).model(seed)."""
    dry_run: bool = False
    """Print what the run would cost, and do not run."""
    devices: int | None = None
    """Devices each process uses: a CPU is split into this many (default: a device a core), elsewhere the first ones."""
    coordinator: str | None = None
    """HOST:PORT of process 0, the same for all processes of a run on several hosts (CPU, GPU)."""
    num_processes: int | None = None
    """Number of these processes."""
    process_id: int | None = None
    """Which of them this is: 0 to num_processes - 1. Process 0 writes the results."""
    distributed: bool = False
    """Find the other processes by themselves, where JAX can: on TPU pods, under Slurm or Open MPI."""


LOST = "error: a process of this run was lost: the same command with --resume (for every process) continues it\n"


def configure_devices() -> None:
    """Persistent compilation cache, and a CPU device per core so that blocks of seeds run side by side."""
    parallel.enable_compilation_cache()
    _cpu_devices(os.cpu_count() or 1)


def _cpu_devices(count: int) -> None:
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", count)


def start(options: RunOptions) -> None:
    """Join the other processes and choose devices, as the options say; ValueError names the option that is wrong."""
    if options.devices is not None:
        if options.devices < 1:
            raise ValueError(f"devices={options.devices}: expected at least 1")
        _cpu_devices(options.devices)
    which = {"coordinator": options.coordinator, "num_processes": options.num_processes}
    which["process_id"] = options.process_id
    missing = [name for name, value in which.items() if value is None]
    if options.distributed and len(missing) < 3:
        given = ", ".join(name for name in which if name not in missing)
        raise ValueError(f"distributed=True: expected without {given}")
    if 0 < len(missing) < 3:
        raise ValueError(f"{missing[0]}=None: expected coordinator, num_processes and process_id together")
    if not missing:
        count, process = options.num_processes or 0, options.process_id or 0
        if not 0 <= process < count:
            raise ValueError(f"process_id={process}: expected 0 to {count - 1}, for num_processes={count}")
        if not re.fullmatch(r".+:\d+", options.coordinator or ""):
            raise ValueError(f"coordinator={options.coordinator}: expected HOST:PORT")
    if options.distributed or not missing:
        processes.connect(options.coordinator, options.num_processes, options.process_id, LOST)
        console.quiet = jax.process_index() > 0
    if options.devices is not None:
        parallel.devices(options.devices)


def command_line(
    config: type[T],
    name: str,
    description: str | None,
    how: type[Options],
) -> tuple[T, Options]:
    """Parse the options of `python -m experiments.<name>`, every field of `config` and of `how`, and `start`."""
    unnamed = tyro.conf.arg(name="")
    chosen, options = tyro.cli(
        tuple[Annotated[config, unnamed], Annotated[how, unnamed]],  # type: ignore[valid-type]
        prog=f"python -m experiments.{name}",
        description=description,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    chosen, options = expanded(chosen), expanded(options)
    start(options)
    return chosen, options


def expanded(options: T) -> T:
    """The options with `~` in their paths written out, which a shell leaves alone in `--output=~/here`."""
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    paths = {name: value.expanduser() for name, value in fields.items() if isinstance(value, Path)}
    return dataclasses.replace(options, **paths)  # type: ignore[type-var]


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it when the time is over."""


def _terminate(*_: Any) -> None:
    raise Terminated


@contextlib.contextmanager
def until_the_round_ends() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM came, which ends nothing within this; `Terminated` at its end, or at once at a second one."""
    asked = threading.Event()

    def ask(*_: Any) -> None:
        if asked.is_set():
            raise Terminated
        asked.set()

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if asked.is_set():
        raise Terminated


def guarded(main: Callable[[], None]) -> None:
    """Run a script's main: what the user can mend ends in one line and exit code 2, not in a traceback.

    Ctrl-C ends it with exit code 1, SIGTERM, after the round of a campaign, with 143; what is done is on disk. One of
    several processes never waits for the others when it ends with an error: they notice, and end too.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        _guarded(main)
    finally:
        signal.signal(signal.SIGTERM, before)


def _guarded(main: Callable[[], None]) -> None:
    try:
        main()
        processes.leave(0, together=True)
    except KeyboardInterrupt as error:
        how, code = ("terminated", 143) if isinstance(error, Terminated) else ("interrupted", 1)
        print(f"{how}: run the same command with --resume to continue", file=sys.stderr)
        processes.leave(code, together=False)
        sys.exit(code)
    except Exception as error:
        if processes.is_loss(error):
            os._exit(1)  # without `processes.leave`: the sentence LOST follows
        if isinstance(error, campaign.Diverged):
            print(f"error: {error}", file=sys.stderr)
            processes.leave(1, together=True)
            sys.exit(1)
        if not isinstance(error, ValueError | store.StoreError):
            if not jax.distributed.is_initialized():
                raise
            traceback.print_exc()
            processes.leave(1, together=False)
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        processes.leave(2, together=True)
        sys.exit(2)


@functools.lru_cache(maxsize=4)
def build(experiment: Experiment) -> Built:
    """What `campaign.run` needs; ValueError names what cannot work, before anything is compiled or written."""
    built, settings = experiment_build(experiment), experiment.settings
    dataset = campaign.validate(built.dataset, settings)
    swept = settings_of(built.posterior, built.sweep)
    check_outputs(built.posterior, dataset, swept)
    on_device = dataclasses.replace(settings, pool_on="device")
    functions = campaign.programs(built.posterior, built.acquisition, on_device, built.likelihood)
    rows = campaign.start_rows(dataset, settings)[0]
    test, validation = full_buffer(dataset.test_inputs, dataset.test_labels), None
    if dataset.validation_labels is not None:
        validation = full_buffer(dataset.validation_inputs, dataset.validation_labels)
    # Tracing alone finds what would fail while compiling, when the results folder exists already.
    first = jax.random.key(0), dataset.inputs, rows, dataset.labels[rows]
    state = jax.eval_shape(functions.init, *first, values=swept[0])
    jax.eval_shape(functions.propose, state, dataset.inputs, validation, test)
    if settings.pool_on == "host":
        steps = campaign.programs(built.posterior, built.acquisition, settings, built.likelihood)
        check_pool_is_not_read(steps, dataset, settings.initial_labels, validation, test, values=swept[0])
    return built._replace(dataset=dataset)


def run_experiment(
    experiment: Experiment,
    directory: Path,
    options: RunOptions,
    *,
    method: str | None = None,
    max_hours: float | None = None,
) -> Campaign:
    """Run one campaign into `directory`, or read it there when it is finished.

    `method` names it in its tables, by default as its acquisition; after `max_hours` it ends, unfinished, between two
    rounds.
    """
    plain = identity(experiment)
    if store.finished(directory):
        store.check_config(directory, plain)
        if options.keep_model and not processes.on_first((directory / model.FILE).exists):
            raise store.StoreError(
                f"{directory} is finished and has no model: --keep-model with another --results-dir runs it again"
            )
        return processes.on_first(functools.partial(campaign.load, directory))
    built = build(experiment)
    opened = store.open_store(directory, plain, resume=options.resume, allow_inexact=options.allow_inexact)
    try:
        with until_the_round_ends() as stop:
            return campaign.run(
                built.posterior,
                built.acquisition,
                built.dataset,
                experiment.settings,
                likelihood=built.likelihood,
                method=method or plain["acquisition"],
                results=opened,
                console=console,
                devices=parallel.devices(options.devices),
                max_hours=max_hours,
                stop=stop,
                keep_model=options.keep_model,
                sweep=built.sweep,
            )
    except campaign.Diverged as error:  # the other methods go on; see `refuse_all_stopped`
        return error.campaign


def present(done: dict[str, Campaign], directory: Path, title: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Print the table and what was stopped, and draw the learning curves; returns the rounds and what was stopped."""
    rounds = pd.concat([finished.rounds for finished in done.values()], ignore_index=True)
    stopped = {f"{name}, seed {seed}": why for name, finished in done.items() for seed, why in finished.stopped.items()}
    classes = "accuracy" in rounds
    if classes:
        console.print(results.render(results.summary(rounds), title=title))
    else:
        note = "Mean over seeds [95 % interval]. rmse in the labels' units, nll in nats."
        console.print(results.text_table(results.final(rounds, ("rmse", "nll", "coverage")), title, note))
    metric = "accuracy" if classes else "rmse"
    if jax.process_index() == 0 and rounds[metric].notna().any():
        figure = plots.learning_curves(rounds, metric, title=title)
        figure.savefig(directory / "learning_curve.png", dpi=150)
    for who, why in stopped.items():
        console.print(f"[yellow]{who} was stopped:[/] {why}")
    compiling = sum(finished.compile_seconds for finished in done.values())
    rounds_took = sum(finished.rounds.drop_duplicates("round").seconds.sum() for finished in done.values())
    console.print(f"compiled in {compiling:.1f} s, ran in {rounds_took:.1f} s", highlight=False)
    console.print(f"results: {directory}", soft_wrap=True, highlight=False)
    return rounds, stopped


def refuse_all_stopped(done: dict[str, Campaign]) -> None:
    """`campaign.Diverged` when every seed of a method was stopped; to be called when everything is told and written."""
    for name, finished in done.items():
        campaign.refuse_all_stopped(finished, name)
