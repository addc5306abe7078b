"""What a campaign leaves: tables, final states, the trained posterior; and how it is read from disk."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from al_jax.campaign import model
from al_jax.campaign.model import Model
from al_jax.campaign.store import read_table
from al_jax.engine.state import State
from al_jax.sweep import Recipe, Repetition, at, nearest, text


class Campaign(NamedTuple):
    """What a campaign leaves: tidy tables, and per-seed states with a leading axis for seeds.

    rounds: a row per (seed, round): num_labelled, metrics, `fit_*`, `info_*`, seconds. acquired: a row per label: seed,
    round (-1: at the start), pick, row of the pool and of the data set that was loaded, before any subset or split
    (`original_row`), score, label. stopped: why the seeds that diverged were stopped, by seed. finished: False when
    `max_hours` or `stop` ended it between two rounds. posterior: what it trained; directory: where it was read from.
    sweep: its settings. The seeds of the first one come first, then those of the second; both tables have a column for
    each swept number, and `stopped` has keys such as "3 with learning_rate=0.001".
    """

    rounds: pd.DataFrame
    acquired: pd.DataFrame
    stopped: dict[Any, str]
    compile_seconds: float
    state: State | None = None  # None when the run was read from disk
    finished: bool = True
    posterior: Recipe | None = None
    directory: Path | None = None
    sweep: tuple[dict[str, float], ...] = ({},)
    first_row: int = 0  # of its repetitions among those of the run

    def at(self, **values: float) -> "Campaign":
        """The campaign of one setting of a sweep alone, under the method's plain name: `at(learning_rate=1e-3)`.

        ValueError unless there is such a setting.
        """
        place = nearest(self.sweep, values)
        setting, seeds = self.sweep[place], self.rounds["seed"].nunique()

        def alone(table: pd.DataFrame) -> pd.DataFrame:
            chosen = np.all([table[name] == value for name, value in setting.items()], axis=0)
            own = table[np.broadcast_to(chosen, len(table))].reset_index(drop=True)
            return own.assign(method=own["method"].str.removesuffix(f", {text(setting)}"))

        names = {Repetition(seed, setting).name: seed for seed in self.rounds["seed"].unique().tolist()}
        first, state = place * seeds, self.state
        if state is not None:
            state = jax.tree.map(lambda leaf: leaf[first : first + seeds], state)
        return self._replace(
            rounds=alone(self.rounds),
            acquired=alone(self.acquired),
            stopped={names[name]: why for name, why in self.stopped.items() if name in names},
            state=state,
            sweep=(setting,),
            first_row=self.first_row + first,
        )

    def model(self, seed: int | None = None, posterior: Recipe | None = None) -> Model:
        """The posterior as one seed's last round trained it, by default of the only seed: `model().predict(inputs)`.

        Of a run on disk that was run with `keep_model=True`. There `posterior` is the one that it was run with, by
        default made again from the texts that `experiments.run` records. ValueError unless there is such a seed that
        was not stopped, and for several settings of a sweep (see `at`); StoreError when the folder has no model, or one
        of another posterior.
        """
        seed = _only(self, seed)
        if seed in self.stopped:
            raise ValueError(f"seed={seed} was stopped and has no model: {self.stopped[seed]}")
        index, recipe = seed - self.rounds["seed"].min(), posterior or self.posterior
        known = None if recipe is None else at(recipe, self.sweep[0])
        if self.state is not None and known is not None:
            return Model(known, jax.tree.map(lambda leaf: leaf[index], self.state.posterior))
        if self.directory is None:
            raise ValueError("this campaign has neither a final state nor a folder: expected one from run() or load()")
        return model.read(self.directory, known, self.first_row + index, self.sweep[0])


def _only(done: Campaign, seed: int | None) -> int:
    """The seed, by default the only one; ValueError unless there is such a seed, of one setting."""
    if len(done.sweep) > 1:
        raise ValueError(
            f"the campaign has {len(done.sweep)} settings: expected one, such as .at({text(done.sweep[0])})"
        )
    seeds = done.rounds["seed"].unique().tolist()
    if (seed is None and len(seeds) > 1) or (seed is not None and seed not in seeds):
        raise ValueError(f"seed={seed}: expected one of {', '.join(map(str, seeds))}")
    return seeds[0] if seed is None else seed


class Diverged(RuntimeError):
    """Training diverged in every seed; `campaign` is what there is, as it is on disk."""

    def __init__(self, message: str, campaign: Campaign) -> None:
        super().__init__(message)
        self.campaign = campaign


def refuse_all_stopped(done: Campaign, name: str = "") -> None:
    """`Diverged`, with the name in front, when every seed was stopped."""
    if done.stopped and set(repetitions(done)) <= set(done.stopped):
        raise Diverged(f"{name and name + ': '}every seed was stopped. {next(iter(done.stopped.values()))}", done)


def repetitions(done: Campaign) -> list[Any]:
    """The rows of its axis S as `stopped` calls them: seeds, or of a sweep their names with a setting."""
    seeds = done.rounds["seed"].unique().tolist()
    return [Repetition(seed, values).name if values else seed for values in done.sweep for seed in seeds]


def load(directory: Path | str) -> Campaign:
    """A finished campaign from its results folder; of the final states only the model is there, on request."""
    directory = Path(directory).expanduser()
    summary = json.loads((directory / "summary.json").read_text())
    swept = tuple(summary.get("sweep", ({},)))
    why = {seed if swept[0] else int(seed): reason for seed, reason in summary["stopped"].items()}
    of_rounds, acquired = (read_table(directory / f"{name}.csv") for name in ("rounds", "acquired"))
    return Campaign(of_rounds, acquired, why, summary["compile_seconds"], directory=directory, sweep=swept)


def labelled(done: Campaign | Path | str, seed: int | None = None) -> pd.DataFrame:
    """The rows that were labelled, and their labels, in order: seed, round, row, original_row, label.

    Of a campaign or its results folder, by default of its only seed. ValueError unless there is such a seed, and for
    several settings of a sweep (see `Campaign.at`).
    """
    done = done if isinstance(done, Campaign) else load(done)
    of_seed = done.acquired[done.acquired["seed"] == _only(done, seed)]
    return of_seed[["seed", "round", "row", "original_row", "label"]].reset_index(drop=True)
