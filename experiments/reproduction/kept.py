"""Results worth keeping: small tables of every seed, and one file that says how they came about.

FOLDER/seed<N>.csv            a row per round, as in `Campaign.rounds`
FOLDER/acquired_seed<N>.csv   a row per acquired row; `row` is its number in the original training file
FOLDER/run.json               the configuration of all seeds here; of every run its command, hours and environment

A seed is here when run.json, which is written last, says so. There is one configuration in a folder, never two.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from al_jax.campaign import Campaign, store
from al_jax.campaign.store import StoreError
from al_jax.data import original_rows_of
from experiments import experiment as experiments_
from experiments.experiment import Experiment

HOW = ("seeds", "first_seed", "seed_block", "chunk_size", "mode", "pool_on")
"""Settings that say how a recipe is run: they may differ between the seeds of a folder."""


class Kept(NamedTuple):
    """The seeds of a folder: their rounds, and the runs they came from as run.json has them."""

    configuration: dict[str, Any]
    runs: list[dict[str, Any]]
    rounds: pd.DataFrame
    acquired: pd.DataFrame

    @property
    def seeds(self) -> list[int]:
        """In ascending order."""
        return sorted(seed for run in self.runs for seed in run["seeds"])

    @property
    def stopped(self) -> dict[int, str]:
        """Why seeds were stopped."""
        return {int(seed): why for run in self.runs for seed, why in run["stopped"].items()}


def recipe(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON has it, without `HOW`."""
    plain = experiments_.recipe(experiment)
    plain["settings"] = {name: value for name, value in plain["settings"].items() if name not in HOW}
    return plain


def differences(stored: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Where a stored recipe is not that of `experiment`; a field younger than the file had its default value."""

    def flat(plain: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: value for name, value in plain.items() if name != "settings"}, **plain.get("settings", {})}

    there, expected = flat(recipe(Experiment())) | flat(stored), flat(recipe(experiment))
    names = sorted(there.keys() | expected.keys())
    return [f"{n} ({there.get(n)}, not {expected.get(n)})" for n in names if there.get(n) != expected.get(n)]


def check(folder: Path, experiment: Experiment) -> None:
    """StoreError when the folder holds seeds of another recipe."""
    stored = _index(folder)
    if stored is not None and (found := differences(stored["configuration"], experiment)):
        raise StoreError(f"{folder} holds seeds of another recipe: it differs in {', '.join(found)}")


def seeds(folder: Path) -> list[int]:
    """The seeds that are here."""
    stored = _index(folder)
    return [] if stored is None else sorted(seed for run in stored["runs"] for seed in run["seeds"])


def keep(folder: Path, experiment: Experiment, done: Campaign, command: str, directory: Path) -> None:
    """Add the seeds of a finished campaign, whose results are in `directory`; those that are there stay as they are.

    StoreError when the folder holds seeds of another recipe, or these.
    """
    check(folder, experiment)
    new = range(experiment.settings.first_seed, experiment.settings.first_seed + experiment.settings.seeds)
    there = sorted(set(seeds(folder)) & set(new))
    if there:
        raise StoreError(f"{folder} holds seed {there[0]} already: delete its files to keep another")
    folder.mkdir(parents=True, exist_ok=True)
    rows = original_rows_of(experiments_.build(experiment).dataset)
    own = done.acquired[done.acquired["round"] >= 0]
    acquired = own.assign(row=own["original_row"]).drop(columns="original_row")
    distinct = len(np.unique(rows))
    if distinct < len(rows):  # `repeated`: copy after copy of the whole pool
        copies = own["row"].to_numpy(int) // distinct
        acquired.insert(acquired.columns.get_loc("row") + 1, "copy", copies)
    for seed in new:
        for name, table in {f"seed{seed}": done.rounds, f"acquired_seed{seed}": acquired}.items():
            of_seed = table[table["seed"] == seed].drop(columns="method")
            store.write_table(folder / f"{name}.csv", of_seed.apply(_rounded))
    stored = _index(folder) or {"configuration": recipe(experiment), "runs": []}
    run = {
        "seeds": list(new),
        "command": command,
        "hours": float(f"{done.rounds.drop_duplicates('round').seconds.sum() / 3600:.4g}"),
        "compile_seconds": round(done.compile_seconds, 1),
        "stopped": {str(seed): why for seed, why in done.stopped.items()},
        "how": {name: getattr(experiment.settings, name) for name in HOW if name not in ("seeds", "first_seed")},
        "environment": json.loads((directory / "environment.json").read_text())[-1],
    }
    store.write_json(folder / "run.json", stored | {"runs": [*stored["runs"], run]})


def read(folder: Path, method: str) -> Kept:
    """All seeds of the folder, called `method` in the tables; StoreError when a file is missing or damaged."""
    stored = _index(folder)
    if stored is None:
        raise StoreError(f"{folder} has no run.json: it holds no results")
    here = sorted(seed for run in stored["runs"] for seed in run["seeds"])
    strangers = {path.stem for path in folder.glob("seed*.csv")} - {f"seed{seed}" for seed in here}
    if strangers:
        raise StoreError(f"{folder} has {min(strangers)}.csv, of which run.json does not say how it came about")
    tables = []
    for prefix in ("seed", "acquired_seed"):
        parts = [_table(folder / f"{prefix}{seed}.csv", seed) for seed in here]
        tables.append(pd.concat(parts, ignore_index=True).assign(method=method))
    return Kept(stored["configuration"], stored["runs"], *tables)


def _table(path: Path, seed: int) -> pd.DataFrame:
    try:
        table = store.read_table(path)
        if set(table["seed"]) - {seed}:
            raise StoreError(f"{path} holds rows of other seeds than {seed}")
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return table


def _index(folder: Path) -> dict[str, Any] | None:
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        _ = [[run[name] for name in ("seeds", "command", "hours", "stopped", "environment")] for run in stored["runs"]]
        _ = stored["configuration"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error!r}") from error
    return stored


def _rounded(column: pd.Series) -> pd.Series:
    """Floats to five significant digits."""
    if column.dtype.kind != "f":
        return column
    return column.map(lambda value: float(f"{value:.5g}") if np.isfinite(value) else value)
