"""Runs arms one after the other, each into a small file of its own: killed at any moment, it goes on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from al_jax import campaign
from al_jax.campaign import Settings, store
from experiments import runner
from experiments.atlas import tuning
from experiments.atlas.arms import Arm, experiment_of, file_of, metric_of, recipe_of
from experiments.atlas.tuning import setting_of
from experiments.runner import console

COLUMNS = ["method", "seed", "round", "num_labelled", "accuracy", "nll", "seconds", "recipe"]


def columns_of(arm: Arm) -> list[str]:
    """The columns that are kept of an arm."""
    return [metric_of(arm.data) if column == "accuracy" else column for column in COLUMNS]


def curves(arm: Arm, seeds: int, results: Path) -> pd.DataFrame:
    """Run an arm: a row a seed and round."""
    setting = setting_of(arm.data, arm.posterior, results)
    experiment = experiment_of(arm, setting, seeds)
    built = runner.build(experiment)
    done = campaign.run(
        built.posterior,
        built.acquisition,
        built.dataset,
        experiment.settings,
        likelihood=built.likelihood,
        method=arm.acquisition,
    )
    rounds = done.rounds.assign(recipe=recipe_of(arm, setting))
    return rounds[columns_of(arm)].round({"accuracy": 4, "rmse": 5, "nll": 4, "seconds": 2})


def kept(arm: Arm, results: Path) -> pd.DataFrame | None:
    """The curves of an arm, where there are any of its recipe as it is now."""
    path, tuned = file_of(arm, results), tuning.file_of(arm.data, arm.posterior, results)
    if not (path.exists() and tuned.exists()):
        return None
    table = store.read_table(path)
    own = recipe_of(arm, setting_of(arm.data, arm.posterior, results))
    return table if (table["recipe"] == own).all() else None


def missing(arms: Sequence[Arm], seeds: int, results: Path) -> list[Arm]:
    """The arms that have no curves, or fewer seeds."""
    return [arm for arm in arms if (table := kept(arm, results)) is None or table["seed"].nunique() < seeds]


def share(arms: Sequence[Arm], shard: str) -> list[Arm]:
    """Every n-th arm from the i-th on, for a shard "i/n"; ValueError unless 0 <= i < n."""
    index, _, count = shard.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"shard={shard!r}: expected i/n with 0 <= i < n, such as 0/4")
    return list(arms[int(index) :: int(count)])


def run(arms: Sequence[Arm], seeds: int, results: Path, hours: float | None) -> None:
    """Run arms and keep their curves; none is begun after so many `hours`.

    An arm that cannot work does not keep the others from running: ValueError at the end, with each and why.
    """
    began, refused = time.monotonic(), list[str]()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(arms))
        for arm in arms:
            if hours is not None and time.monotonic() - began > 3600 * hours:
                console.print(f"{hours} hours are over: the same command goes on", highlight=False)
                break
            bar.update(task, description=arm.name)
            path = file_of(arm, results)
            try:
                found = curves(arm, seeds, results)
            except ValueError as error:  # what it is made of does not fit together
                refused.append(f"{arm.name}: {error}")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                store.write_table(path, found)
            bar.advance(task)
    if refused:
        raise ValueError(f"{len(refused)} of {len(arms)} arms cannot run. {'; '.join(refused)}")


def expected_hours(arms: Sequence[Arm], seeds: int, results: Path) -> pd.DataFrame:
    """Hours that arms will take, by data set, regime and posterior: what the kept arms of the group took on average.

    Compilation is not in it. NaN where nothing of a group is kept.
    """
    rows = []
    groups = pd.DataFrame([arm._asdict() for arm in arms]).groupby(["data", "regime", "posterior"], sort=False)
    for (data, regime, posterior), group in groups:
        folder = file_of(Arm(data, regime, posterior, "any"), results).parent
        known = map(store.read_table, sorted(folder.glob("*.csv")))
        seconds = [table.drop_duplicates("round")["seconds"].sum() / table["seed"].nunique() for table in known]
        each = float(np.mean(seconds)) if seconds else float("nan")
        rows.append((data, regime, posterior, len(group), each, each * seeds * len(group) / 3600))
    return pd.DataFrame(rows, columns=["data", "regime", "posterior", "arms", "seconds a seed", "hours"])


def differences(
    arm: Arm, seeds: int, results: Path, again: Callable[[Arm, int, Path], pd.DataFrame] = curves
) -> str | None:
    """What differs between the kept curves and those that the arm gives now for its first seeds; None: nothing.

    Seconds may differ. ValueError when nothing is kept.
    """
    before = kept(arm, results)
    if before is None:
        raise ValueError(f"{arm.name} has no kept curves to compare with: expected an arm that was run")
    # A block of seeds is one program, and another width of it may round otherwise.
    now = again(arm, max(seeds, Settings().seed_block), results)
    now = now[now["seed"].isin(sorted(now["seed"].unique())[:seeds])].reset_index(drop=True)
    before = before[before["seed"].isin(now["seed"])].reset_index(drop=True)
    columns = [column for column in columns_of(arm) if column != "seconds"]
    if len(before) != len(now):
        return f"{len(before)} rounds are kept, {len(now)} came out"
    for column in columns:
        wrong = np.flatnonzero((before[column] != now[column]).to_numpy())
        if len(wrong):
            row = now.iloc[wrong[0]]
            where = f"seed {row['seed']}, round {row['round']}"
            return f"{column} of {where} is {row[column]}, was {before[column].iloc[wrong[0]]}"
    return None
