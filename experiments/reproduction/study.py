"""Runs the arms of a paper's experiment over seeds; what is common to `gal2017`, `kirsch2019` and `beluch2018`."""

import dataclasses
import itertools
import shlex
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import pandas as pd

from al_jax import plots, results
from al_jax.campaign import Campaign, store
from al_jax.campaign.store import StoreError
from al_jax.engine.processes import on_first
from al_jax.errors import unknown
from experiments import runner
from experiments.dry_run import print_costs
from experiments.experiment import Experiment, changed, identity
from experiments.reproduction import kept
from experiments.runner import RunOptions, console


@dataclasses.dataclass(frozen=True)
class Study:
    """What every paper's command line has in common."""

    preset: Literal["paper", "cpu", "smoke"] = "paper"
    """paper: the published recipe; cpu: with the reductions named above; smoke: seconds on digits, to test the code."""
    arms: tuple[str, ...] = ()
    """Which of the methods named above to run."""
    seeds: int = 3
    """How many seeds of each."""
    first_seed: int = 0
    """The first of them."""
    max_labels: int | None = None
    """Another budget than the recipe's."""


@dataclasses.dataclass(frozen=True)
class StudyOptions(RunOptions):
    """How to run a paper's experiment; results do not depend on it."""

    max_hours: float | None = None
    """End between two rounds after this many hours; the same command with --resume continues."""
    keep: Path | None = None
    """Where small tables of every finished seed go: KEEP/<paper>/<preset>/<arm>/ (default: RESULTS_DIR/kept)."""


S = TypeVar("S", bound=Study)


class Job(NamedTuple):
    """A campaign of one arm over some of its seeds."""

    arm: str
    config: Experiment
    directory: Path  # of its checkpoints
    folder: Path  # of the arm's kept tables


def variant(study: Study) -> str:
    """Name of the recipe: the preset, and whatever option makes it another one."""
    options = {f.name: getattr(study, f.name) for f in dataclasses.fields(study) if getattr(study, f.name) != f.default}
    kept_apart = [f"{n}={v}" for n, v in options.items() if n not in ("preset", "arms", "seeds", "first_seed")]
    return ",".join([study.preset, *kept_apart])


def from_variant(kind: type[S], name: str) -> S:
    """The study that `variant` gave this name, with the default arms and seeds; StoreError when there is none."""
    preset, *options = name.split(",")
    pairs = dict(option.split("=", 1) for option in options if "=" in option)
    known = {field.name for field in dataclasses.fields(kind)}
    if preset not in ("paper", "cpu", "smoke") or not pairs.keys() <= known:
        raise StoreError(
            f"{name!r} names no recipe: expected paper, cpu or smoke, and options that make it another one"
        )
    values: dict[str, Any] = {option: int(v) if v.isdigit() else v for option, v in pairs.items()}
    found = kind(**{"preset": preset, **values})
    if variant(found) != name:
        raise StoreError(f"{name!r} names no recipe: expected {variant(found)!r}")
    return found


def configuration(chosen: S, arm: str, recipe: Callable[[S, str], Experiment]) -> Experiment:
    """The campaign of an arm, with the study's own budget where it has one."""
    config = recipe(chosen, arm)
    return config if chosen.max_labels is None else changed(config, max_labels=chosen.max_labels)


def command(name: str, study: Study, job: Job) -> str:
    """The command that runs this job alone."""
    settings = job.config.settings
    alone = dataclasses.replace(study, arms=(job.arm,), seeds=settings.seeds, first_seed=settings.first_seed)
    options = [f"python -m experiments.recipes.{name}"]
    for field in dataclasses.fields(alone):
        value = getattr(alone, field.name)
        if value != field.default or field.name in ("preset", "seeds", "first_seed"):
            values = value if isinstance(value, tuple) else (value,)
            options.append(shlex.join([f"--{field.name.replace('_', '-')}", *map(str, values)]))
    return " ".join(options)


def jobs(name: str, study: Study, recipes: Mapping[str, Experiment], options: StudyOptions) -> list[Job]:
    """What is left to do: on a CPU seed after seed, every arm in turn; elsewhere all seeds of an arm at once.

    StoreError when a folder holds another recipe or, without --resume, an unfinished run.
    """
    runs, tables = options.results_dir / name / variant(study), kept_folder(name, study, options)
    together = jax.default_backend() != "cpu"
    found = []
    for arm, recipe in recipes.items():
        on_first(partial(kept.check, tables / arm, recipe))
        finished = on_first(partial(kept.seeds, tables / arm))
        left = [s for s in range(study.first_seed, study.first_seed + study.seeds) if s not in finished]
        for group in _consecutive(left) if together else [[seed] for seed in left]:
            config = changed(recipe, seeds=len(group), first_seed=group[0])
            if together:
                config = changed(config, seed_block=len(group))
            which = f"seed{group[0]}" if len(group) == 1 else f"seeds{group[0]}-{group[-1]}"
            found.append(Job(arm, config, (runs / arm / which).absolute(), tables / arm))
    for job in found:
        if on_first((job.directory / "config.json").exists):
            store.check_config(job.directory, identity(job.config))
            if not options.resume and not store.finished(job.directory):
                raise StoreError(f"{job.directory} holds an unfinished run: continue it with --resume")
    return found if together else sorted(found, key=lambda job: job.config.settings.first_seed)


def kept_folder(name: str, study: Study, options: StudyOptions) -> Path:
    """Where the tables of this recipe's finished seeds are, in a folder per arm."""
    return (options.keep or options.results_dir / "kept") / name / variant(study)


def run(
    name: str, study: S, known: Mapping[str, Experiment], options: StudyOptions, recipe: Callable[[S, str], Experiment]
) -> None:
    """Run or continue the arms, keep every seed as soon as it is finished, and print the table of all that are."""
    for arm in study.arms:
        if arm not in known:
            raise unknown("arms", arm, known)
    expect(study.seeds >= 1, "seeds", study.seeds, "at least 1")
    expect(study.first_seed >= 0, "first_seed", study.first_seed, "at least 0")
    expect(options.max_hours is None or options.max_hours > 0, "max_hours", options.max_hours, "more than 0")
    recipes = {arm: configuration(study, arm, recipe) for arm in study.arms}
    if options.dry_run:
        for config in recipes.values():
            print_costs(changed(config, seeds=study.seeds, first_seed=study.first_seed))
        return
    to_do = jobs(name, study, recipes, options)
    for config in {job.arm: job.config for job in to_do}.values():
        runner.build(config)  # whatever is wrong with the last arm is said before the first one runs
    stopped = _run(name, study, to_do, options)
    done = _present(name, study, options)
    if stopped:
        console.print(f"stopped after {options.max_hours} hours: the same command with --resume continues")
    runner.refuse_all_stopped(done)


def expect(holds: bool, name: str, value: object, expected: str) -> None:
    """ValueError that names the option and its value unless `holds`."""
    if not holds:
        raise ValueError(f"{name}={value!r}: expected {expected}")


def _run(name: str, study: Study, to_do: list[Job], options: StudyOptions) -> bool:
    """Run the jobs in turn; whether the time was over before they were finished."""
    began = time.monotonic()
    for number, job in enumerate(to_do):
        left = None if options.max_hours is None else options.max_hours - (time.monotonic() - began) / 3600
        if number and on_first(partial(_over, left)):  # the first always begins
            return True
        hours = None if left is None else max(left, 1e-9)
        resuming = dataclasses.replace(options, resume=True)  # `jobs` has refused what had to be
        done = runner.run_experiment(job.config, job.directory, resuming, method=job.arm, max_hours=hours)
        if not done.finished:
            return True
        on_first(partial(kept.keep, job.folder, job.config, done, command(name, study, job), job.directory))
        jax.clear_caches()  # the next one compiles programs of its own
    return False


def _over(hours_left: float | None) -> bool:
    return hours_left is not None and hours_left <= 0


def _present(name: str, study: Study, options: StudyOptions) -> dict[str, Campaign]:
    """Print the table of all kept seeds of these arms and draw their curves; say which seeds are missing.

    Returns these arms, on process 0.
    """
    tables = kept_folder(name, study, options)
    asked = range(study.first_seed, study.first_seed + study.seeds)
    if jax.process_index() > 0:
        return {}
    found = {arm: kept.read(tables / arm, arm) for arm in study.arms if kept.seeds(tables / arm)}
    rounds = pd.concat([arm.rounds for arm in found.values()], ignore_index=True) if found else pd.DataFrame()
    title = f"{name}, {variant(study)}"
    if len(rounds):
        console.print(results.render(results.summary(rounds), title=title))
    if len(rounds) and rounds["accuracy"].notna().any():
        picture = options.results_dir / name / variant(study) / "learning_curve.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        plots.learning_curves(rounds, title=title).savefig(picture, dpi=150)
    for arm in study.arms:
        here = found[arm].seeds if arm in found else []
        missing = [seed for seed in asked if seed not in here]
        if missing:
            console.print(f"[yellow]{arm}:[/] {len(asked) - len(missing)} of {len(asked)} seeds finished")
        for seed, why in found[arm].stopped.items() if arm in found else []:
            console.print(f"[yellow]{arm}, seed {seed} was stopped:[/] {why}")
    console.print(f"results: {tables}", soft_wrap=True, highlight=False)
    return {arm: Campaign(here.rounds, here.acquired, here.stopped, float("nan")) for arm, here in found.items()}


def _consecutive(numbers: list[int]) -> list[list[int]]:
    """Runs of consecutive numbers."""
    groups = itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in groups]
