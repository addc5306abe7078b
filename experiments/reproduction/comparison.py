"""Our kept results against the authors' runs: which quantities, where our median lies, and what chance alone gives.

A quantity is inside when our median over seeds ("nearest": always one of the seeds) lies within [smallest, largest] of
the authors' runs. A seed that never reached an accuracy counts as infinity. The verdict is open when our runs ended too
early to know: they did not reach the accuracy, but the authors' slowest run needed more labels than ours had.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from al_jax import results, vocabulary
from al_jax.campaign.store import StoreError
from experiments.experiment import Experiment
from experiments.published.runs import Published
from experiments.reproduction import kept, study
from experiments.reproduction.kept import Kept
from experiments.reproduction.study import Study

Verdict = Literal["inside", "above", "below", "open"]


class Quantity(NamedTuple):
    """Total labels to an accuracy ("labels"), a metric at so many labels, I / log K ("saturation"), or "epochs".

    Only labels and accuracies are inside or outside.
    """

    kind: str
    at: float


class Part(NamedTuple):
    """What belongs together: the arms of a table and of a panel of the figure."""

    title: str
    arms: tuple[str, ...]
    tables: tuple[tuple[Quantity, ...], ...]
    metrics: tuple[str, ...] = ("accuracy",)  # of the figure's panels


class Paper(NamedTuple):
    """An experiment and what it is compared with."""

    name: str
    cited: str  # short: authors and year
    title: str
    note: str
    study: type[Study]
    recipe: Callable[[Any, str], Experiment]
    arms: Mapping[str, Experiment]
    published: Mapping[str, Published]
    parts: tuple[Part, ...]


class Result(NamedTuple):
    """Kept seeds of one arm with one recipe."""

    arm: str
    preset: str
    config: Experiment
    kept: Kept


class Comparison(NamedTuple):
    """A quantity: the authors' runs, our seeds, and where our median lies among theirs (None: nothing to compare)."""

    arm: str
    preset: str | None  # None: not run
    quantity: Quantity
    published: tuple[float, ...]
    ours: tuple[float, ...]
    verdict: Verdict | None
    seeds_inside: int


def collect(root: Path, paper: Paper) -> list[Result]:
    """All kept results of the paper below `root`, but those of the preset smoke.

    StoreError when a folder holds another recipe than the coded one, an unknown arm, or a missing or damaged file.
    """
    found = []
    for folder in _folders(root / paper.name):
        chosen = study.from_variant(paper.study, folder.name)
        for arm in _folders(folder):
            if arm.name not in paper.arms:
                raise StoreError(f"{arm}: {paper.name} has no arm of this name")
            if chosen.preset != "smoke":
                config = study.configuration(chosen, arm.name, paper.recipe)
                kept.check(arm, config)
                found.append(Result(arm.name, folder.name, config, _whole(arm, config)))
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.exists() else []


def _whole(folder: Path, config: Experiment) -> Kept:
    """The folder's seeds; StoreError when one has other labels than its recipe and was not stopped."""
    found, settings = kept.read(folder, folder.name), config.settings
    grid = [*range(settings.initial_labels, settings.max_labels, settings.batch_size), settings.max_labels]
    stopped = set(found.stopped)
    missing = {"round", "num_labelled", "accuracy", "nll", "ece", "brier", "fit_steps"} - set(found.rounds)
    if missing:
        raise StoreError(f"{folder} has tables without the column {min(missing)}")
    for seed in found.seeds:
        rounds = found.rounds[found.rounds["seed"] == seed].sort_values("round")
        labels = rounds["num_labelled"].tolist()
        if labels != (grid[: len(labels)] if seed in stopped else grid):
            raise StoreError(
                f"{folder / f'seed{seed}.csv'} has {len(labels)} rounds, which are not its recipe's {len(grid)} from "
                f"{grid[0]} labels to {grid[-1]}"
            )
        if not rounds["accuracy"].between(0, 1).all():
            raise StoreError(f"{folder / f'seed{seed}.csv'} has an accuracy that is not between 0 and 1")
    return found


def measured(result: Result, quantity: Quantity) -> tuple[float, ...]:
    """A value for every seed that has one."""
    rounds, acquired = result.kept.rounds, result.kept.acquired
    if quantity.kind == "labels":
        return tuple(results.labels_to_accuracy(rounds, quantity.at)["labels"])
    if quantity.kind == "saturation":
        if "info_saturation" not in acquired:
            return ()
        batches = acquired.sort_values("pick").groupby(["seed", "round"])["info_saturation"].last()
        return tuple(batches.groupby("seed").median())
    if quantity.kind == "epochs":
        epoch = vocabulary.expression("training", result.config.training).make({}).evaluate_every
        return () if epoch is None else tuple(rounds.groupby("seed")["fit_steps"].mean() / epoch)
    return tuple(rounds[rounds["num_labelled"] == quantity.at].sort_values("seed")[quantity.kind])


def authors(published: Published | None, quantity: Quantity) -> tuple[float, ...]:
    """A value for every run of theirs, or none at all."""
    if published is None:
        return ()
    if quantity.kind == "labels" and quantity.at in published.thresholds:
        return published.labels_to(quantity.at)
    if quantity.kind == "accuracy" and quantity.at in published.counts:
        return published.accuracy_at(int(quantity.at))
    if quantity.kind == "saturation" and published.saturation is not None:
        return (published.saturation,)
    if quantity.kind == "epochs":
        return published.epochs
    return ()


def place(value: float, runs: tuple[float, ...], budget: int, their_budget: int) -> Verdict:
    """Where a value of ours lies among theirs; infinity is "not within the budget" on both sides."""
    low, high = min(runs), max(runs)
    if high == math.inf and value > their_budget:
        return "inside" if budget >= their_budget else "open"
    if value == math.inf and high > budget:
        return "open"
    return "below" if value < low else "above" if value > high else "inside"


def compare(paper: Paper, part: Part, found: list[Result]) -> list[Comparison]:
    """All quantities of a part: of every arm those of each preset it was run with."""
    rows = []
    for arm in part.arms:
        published = paper.published.get(arm)
        of_arm = [result for result in found if result.arm == arm]
        for quantity in (quantity for table in part.tables for quantity in table):
            theirs = authors(published, quantity)
            for result in of_arm:
                ours = measured(result, quantity)
                rows.append(_compared(result, quantity, published, theirs, ours))
            if not of_arm:
                rows.append(Comparison(arm, None, quantity, theirs, (), None, 0))
    return rows


def _compared(
    result: Result,
    quantity: Quantity,
    published: Published | None,
    theirs: tuple[float, ...],
    ours: tuple[float, ...],
) -> Comparison:
    verdict, inside = None, 0
    if published is not None and theirs and ours and quantity.kind in ("labels", "accuracy"):
        budgets = result.config.settings.max_labels, published.budget
        verdict = place(results.quartiles(ours)[1], theirs, *budgets)
        inside = sum(place(value, theirs, *budgets) == "inside" for value in ours)
    return Comparison(result.arm, result.preset, quantity, theirs, ours, verdict, inside)


def decided(c: Comparison) -> bool:
    """Whether the quantity is inside or outside."""
    return c.verdict not in (None, "open")


def chance_inside(runs: int, seeds: int) -> float:
    """Probability that our median lies within their range when nothing differs but the seed (values without ties)."""
    rank = int(np.quantile(np.arange(seeds), 0.5, method="nearest")) + 1
    outside = (math.comb(seeds, r) / math.comb(seeds + runs, r) for r in (rank, seeds - rank + 1))
    return 1.0 - sum(outside)


def table(paper: Paper, rows: list[Comparison], found: list[Result]) -> pd.DataFrame:
    """The comparisons as a table for machines: a row per arm, preset and quantity."""
    how = {(result.arm, result.preset): result for result in found}

    def row(c: Comparison) -> dict[str, Any]:
        result = how.get((c.arm, c.preset or ""))
        published, ours = (results.quartiles(values) if values else (math.nan,) * 3 for values in (c.published, c.ours))
        return {
            "arm": c.arm,
            "preset": c.preset or "not run",
            "quantity": c.quantity.kind,
            "at": c.quantity.at,
            "published_runs": len(c.published),
            "published_min": min(c.published, default=math.nan),
            "published_median": published[1],
            "published_max": max(c.published, default=math.nan),
            "evidence": paper.published[c.arm].evidence if c.published else "",
            "seeds": len(c.ours),
            "q25": ours[0],
            "median": ours[1],
            "q75": ours[2],
            "verdict": c.verdict or "",
            "seeds_inside": c.seeds_inside if decided(c) else math.nan,
            "chance_inside": chance_inside(len(c.published), len(c.ours)) if decided(c) else math.nan,
            "hours_a_seed": hours_a_seed(result) if result else math.nan,
            "device": device(result) if result else "",
        }

    return pd.DataFrame([row(c) for c in rows])


def hours_a_seed(result: Result) -> float:
    """Of running, compilation left out; seeds that ran together share their time."""
    return float(sum(run["hours"] for run in result.kept.runs) / len(result.kept.seeds))


def device(result: Result) -> str:
    """What the seeds ran on."""
    kinds = (f"{run['environment']['devices']} x {run['environment']['device_kind']}" for run in result.kept.runs)
    return ", ".join(dict.fromkeys(kinds))
