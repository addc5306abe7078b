"""Judge a score on campaigns that were stored with their posteriors: what it would have picked, without training."""

import dataclasses
import html
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from al_jax import plots, results
from al_jax.campaign import store
from al_jax.data.dataset import num_classes
from al_jax.errors import unknown
from al_jax.lab import recorded, stored
from al_jax.lab.check import check_usable, name_of
from al_jax.lab.compare import check_traces, lifted
from al_jax.lab.judge import Judged, judge
from al_jax.lab.recorded import Ready, Recorded, Snapshot
from al_jax.lab.show import counted, figure_html, fixed, progress, table_html, table_text
from al_jax.lab.tasks import Task
from al_jax.types import Acquisition, ScoreFn

BESIDE = ("random", "bald", "batchbald")
MEASURES = {
    "overlap_bald": "share of BALD's picks",
    "overlap_batchbald": "share of BatchBALD's picks",
    "information": "information of the batch, nats",
    "redundancy": "share of it told twice",
    "class_balance": "balance of classes",
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Replay:
    """What a score would have picked in every round of a stored campaign, beside random, BALD and BatchBALD.

    Attributes, all plain tables:
      rounds: a row for each method, seed and round: overlap_bald, overlap_batchbald: the share of their batch that it
        picks too; information: I(y_1..y_B; w) of its batch in nats, at most log K; redundancy: 1 - information / sum of
        the rows' own I(y_i; w), the share that is told more than once; class_balance: entropy of the batch's labels, 1
        when all classes come equally often.
      acquired: what it would have acquired: method, seed, round, pick, row, score, label.
      summary: the means over seeds and rounds.
      reproduced: the share of the campaign's own picks that came out again: all, or something has changed.
    """

    task: Ready
    campaign: str
    new: list[str]
    rounds: pd.DataFrame
    acquired: pd.DataFrame
    summary: pd.DataFrame
    reproduced: float

    def figure(self) -> Figure:
        """Each measure against the labels, with 95 % intervals over seeds."""
        styles = plots.method_styles(self.rounds["method"].unique(), "random")
        figure = Figure(figsize=(15, 3.6), dpi=150, layout="constrained")
        for place, (measure, name) in enumerate(MEASURES.items()):
            axes = figure.add_subplot(1, len(MEASURES), place + 1)
            lines = plots.draw_curves(axes, results.curve(self.rounds, measure), measure, styles)
            axes.set_title(name, loc="left", fontsize=12)
            axes.set_ylabel("")
            axes.set_xlabel("labelled rows", fontsize=11)
            axes.tick_params(labelsize=10)
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
        figure.legend(handles=lines, loc="outside right center", fontsize=12, frameon=False, handlelength=1.6)
        return figure

    def __repr__(self) -> str:
        return f"{self._said()}\n\n{table_text(*self._table())}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        table, _, note = self._table()
        said = html.escape(self._said(), quote=False).replace("\n", "<br>")
        return f"<p>{said}</p>{table_html(table, note)}{figure_html(self.figure())}"

    def _said(self) -> str:
        of = self.summary.set_index("method")
        lines = [] if self.reproduced == 1 else [f"Only {self.reproduced:.1%} of the stored picks came out again."]
        for name in self.new:
            mine = of.loc[name]
            lines.append(
                f"{name} picks {mine['overlap_bald']:.0%} of BALD's rows and {mine['overlap_batchbald']:.0%} of "
                f"BatchBALD's. Its batches tell {mine['information']:.2f} nats about the network (random "
                f"{of.loc['random', 'information']:.2f}, BALD {of.loc['bald', 'information']:.2f}, BatchBALD "
                f"{of.loc['batchbald', 'information']:.2f}), and tell {mine['redundancy']:.0%} twice (BALD "
                f"{of.loc['bald', 'redundancy']:.0%}, BatchBALD {of.loc['batchbald', 'redundancy']:.0%})."
            )
        return "\n".join(lines)

    def _table(self) -> tuple[pd.DataFrame, str, str]:
        table = fixed(self.summary, dict.fromkeys(MEASURES, 2))
        table.columns = [MEASURES.get(name, name).replace(" of ", "\nof ").replace(", ", ",\n") for name in table]
        s = self.task.settings
        title = f"{self.task.name}, the states of {self.campaign}'s campaign: {s.seeds} seeds"
        rounds = self.rounds["round"].nunique()
        return (
            table,
            title,
            f"Means over {s.seeds} seeds and {rounds} rounds of batches of {s.batch_size}. No training.",
        )


def replay(
    methods: ScoreFn | Acquisition | Mapping[str, ScoreFn | Acquisition],
    task: str | Task = "digits",
    seeds: int = 8,
    campaign: str = "bald",
) -> Replay:
    """Let scores choose in every round of a baseline's stored campaign, from the posteriors it had there.

    It takes seconds, and says what a score does, not how accurate the networks become that are trained on it: that is
    `compare`. When the campaign is not stored yet it is run first; what the baselines choose in it is computed once.

    Args:
      methods: a score or an acquisition, or several by name.
      campaign: whose states: random, entropy, bald or batchbald.

    CheckError when a method cannot work. ValueError for an unknown task or campaign, or a task that keeps no states.
    """
    if not isinstance(methods, Mapping):
        given = name_of(methods)
        methods = {"mine" if given in stored.BASELINES or isinstance(methods, Acquisition) else given: methods}
    acquisitions = lifted(methods)
    if campaign not in stored.BASELINES:
        raise unknown("campaign", campaign, stored.BASELINES)
    recorded.start()
    ready = recorded.ready(task, seeds)
    for name, method in methods.items():
        if not isinstance(method, Acquisition):
            check_usable(method, name)
        check_traces(ready, name, acquisitions[name])
    with progress() as (console, report):
        beside = {name: stored.BASELINES[name]() for name in dict.fromkeys([*BESIDE, campaign])}
        configs = {name: stored.configuration(ready, name, baseline) for name, baseline in beside.items()}
        run = stored.baseline(ready, campaign, console, report, configs[campaign])
        snapshot, folder = kept(run, ready), stored.folder_of(configs[campaign])
        first = ready.settings.first_seed
        seen_by = judge(ready, beside | acquisitions, list(range(first, first + ready.settings.seeds)))

        def judged_by(name: str) -> Judged:
            """In all rounds and seeds, leading axes [R, S]; without the scores of the pool."""
            found = []
            for number in counted(rounds_of(run), f"{name}, replayed", console, report):
                found.append(seen_by(name, number, snapshot(number))._replace(pool=np.empty(0)))
            return Judged(*(np.stack(leaves) for leaves in zip(*found, strict=True)))

        judged = {
            name: _once(folder / f"replay-{name}-{store.fingerprint(configs[name])}.npz", name, judged_by)
            for name in beside
        }
        judged |= {name: judged_by(name) for name in acquisitions}
    return _replayed(ready, campaign, run, judged, [*methods])


def kept(run: Recorded, ready: Ready) -> Callable[[int], Snapshot]:
    """The campaign's snapshots; ValueError when its task keeps none."""
    if run.snapshot is None:
        raise ValueError(f"task={ready.name!r} has keep_states=False: what was predicted cannot be computed again")
    return run.snapshot


def rounds_of(run: Recorded) -> list[int]:
    """The rounds in which something was acquired."""
    rounds = run.campaign.acquired["round"]
    return sorted(rounds[rounds >= 0].unique().tolist())


def _once(file: Path, name: str, judged_by: Callable[[str], Judged]) -> Judged:
    """What a baseline does in a stored campaign: computed once, and stored beside it."""
    if not file.exists():
        with stored.alone(file):
            if not file.exists():  # another process may have made it meanwhile
                partial = file.with_suffix(".partial")
                with partial.open("wb") as out:
                    np.savez(out, **judged_by(name)._asdict())
                partial.replace(file)
    with np.load(file) as arrays:
        return Judged(**arrays)


def _replayed(ready: Ready, campaign: str, run: Recorded, judged: dict[str, Judged], new: list[str]) -> Replay:
    """The tables; seeds count up to where their campaign stopped."""
    labels, first = ready.dataset.labels, ready.settings.first_seed
    labelled = run.campaign.rounds.set_index(["seed", "round"])["num_labelled"]
    own = {key: set(rows) for key, rows in run.campaign.acquired.groupby(["seed", "round"])["row"]}
    again = judged.get(campaign)
    rounds, acquired, reproduced = [], [], []
    for method, found in judged.items():
        for r, number in enumerate(rounds_of(run)):
            for seed in range(first, first + ready.settings.seeds):
                if (seed, number) not in own:
                    continue
                place = r, seed - first
                picks = found.rows[place][found.valid[place]]
                key = {"method": method, "seed": seed, "round": number}
                row = key | {"num_labelled": labelled[seed, number]}
                for baseline in ("bald", "batchbald"):
                    row[f"overlap_{baseline}"] = np.isin(picks, judged[baseline].rows[place]).mean()
                row |= {"information": found.information[place], "redundancy": redundancy(found, place)}
                rounds.append(row | {"class_balance": class_balance(labels[picks], num_classes(ready.dataset))})
                acquired += [
                    key | {"pick": i, "row": p, "score": float(found.scores[place][i]), "label": int(labels[p])}
                    for i, p in enumerate(picks.tolist())
                ]
                if again is found:
                    reproduced.append(len(own[seed, number] & set(picks.tolist())) / len(own[seed, number]))
    table = pd.DataFrame(rounds)
    summary = table.groupby("method", sort=False)[[*MEASURES]].mean().reset_index()
    return Replay(ready, campaign, new, table, pd.DataFrame(acquired), summary, float(np.mean(reproduced or [1.0])))


def redundancy(found: Judged, place: tuple[int, ...]) -> float:
    """Share of the rows' own information that the batch tells more than once, in [0, 1]."""
    single = found.single[place]
    return float(np.clip(1 - found.information[place] / single, 0, 1)) if single > 0 else 0.0


def class_balance(labels: np.ndarray, classes: int) -> float:
    """Entropy of the labels over the largest they could have: 1 when all classes come equally often."""
    most = min(len(labels), classes)
    return float(stats.entropy(np.bincount(labels)) / np.log(most)) if most > 1 else 1.0
