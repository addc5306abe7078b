"""What was picked in one round: the rows, what was predicted for them, how every score ranks them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from al_jax import plots
from al_jax.data.dataset import num_classes, take
from al_jax.errors import unknown
from al_jax.lab.comparison import Comparison
from al_jax.lab.judge import Judged, judge, of_seeds
from al_jax.lab.recorded import Ready
from al_jax.lab.replay import class_balance, kept, redundancy, rounds_of
from al_jax.lab.show import counted, figure_html, fixed, progress, table_html, table_text

SHOWN = 12
"""Picks in the figure."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """One batch under the magnifying glass, and what the other methods would have picked in its place.

    Attributes, all plain tables:
      picks: a row for each picked one: pick, row, label, predicted, probability (of the predicted class), and for every
        method that gives each row a score, its value and `<method>_rank` among the rows on offer, 1 for the best.
      predictions: pick, class, mean and spread: the predictive probability and its standard deviation over samples.
      overlap: the number of rows that two methods both pick from this posterior.
      batches: a row for each method: information of its batch in nats, single: the sum of its rows' own, redundancy,
        class_balance (see `Replay`).
      classes: rows of each class (columns) in each method's batch.
    """

    task: Ready
    title: str
    picks: pd.DataFrame
    predictions: pd.DataFrame
    overlap: pd.DataFrame
    batches: pd.DataFrame
    classes: pd.DataFrame

    def figure(self) -> Figure:
        """The picks as images (or in the plane), their predictions as bars, and who picks the same."""
        shown = self.picks.head(SHOWN)
        size = len(shown)
        figure = Figure(figsize=(max(1.35 * size, 10), 7.5), dpi=120, layout="constrained")
        figure.suptitle(self.title, fontsize=14, fontweight="bold", x=0.01, ha="left")
        parts = figure.add_gridspec(2, 1, height_ratios=[1.25, 1])
        top, bottom = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
        places = top.subplots(2, size, squeeze=False)
        means = self.predictions.pivot(index="pick", columns="class", values="mean")
        spreads = self.predictions.pivot(index="pick", columns="class", values="spread")
        for place, pick in enumerate(shown.to_dict("records")):
            image, bars = places[:, place]
            draw_row(image, self.task, int(pick["row"]))
            image.set_title(f"is {pick['label']}, said {pick['predicted']}", fontsize=10)
            p, std = means.loc[pick["pick"]], spreads.loc[pick["pick"]]
            colours = [plots.PALETTE[2] if c == pick["label"] else plots.GREY for c in p.index]
            bars.bar(p.index, p, yerr=std, color=colours, ecolor="#333333", error_kw={"linewidth": 1})
            bars.set_ylim(0, 1)
            bars.set_xticks(p.index, p.index, fontsize=7)
            bars.set_yticks([0, 1], ["0", "1"] if place == 0 else [])
            bars.spines[["top", "right"]].set_visible(False)
        places[1, 0].set_ylabel("probability", fontsize=10)
        top.supxlabel("Green: the true class. Lines: the standard deviation over posterior samples", fontsize=9)
        left, right = bottom.subplots(1, 2)
        matrix(left, self.overlap, "rows that two methods both pick")
        matrix(right, self.classes, "rows of each class")
        return figure

    def __repr__(self) -> str:
        return "\n\n".join([self.title, *(table_text(table, None, note) for table, note in self._tables())])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        tables = "".join(table_html(table, note) for table, note in self._tables())
        return f"{figure_html(self.figure())}{tables}"

    def _tables(self) -> list[tuple[pd.DataFrame, str]]:
        floats = {str(c): 3 for c in self.picks if self.picks[c].dtype.kind == "f" and not str(c).endswith("_rank")}
        ranks = {str(c): 0 for c in self.picks if str(c).endswith("_rank")}
        picks = fixed(self.picks, floats | ranks)
        batches = fixed(self.batches, dict.fromkeys(["information", "single", "redundancy", "class_balance"], 2))
        return [
            (picks, "Ranks are among the rows on offer; 1 would be picked first."),
            (
                batches,
                "Information of the batch and the sum of its rows' own, in nats; redundancy: what is told twice.",
            ),
        ]


def inspect(
    result: Comparison, round: int, method: str | None = None, seed: int | None = None, others: Sequence[str] = ()
) -> Inspection:
    """Look at the batch that `method` acquired in a round of one seed, from the posterior it had there.

    Args:
      result: of `lab.compare`.
      round: 0 is the first batch.
      method: one of `result`'s, by default its first new one.
      seed: by default the first.
      others: methods to set beside it; by default all of `result`.

    ValueError for an unknown method, a round or seed that the method does not have, or a task that keeps no states.
    """
    names = list(result.runs)
    method = method or [*result.new, "bald"][0]
    for name in (method, *others):
        if name not in names:
            raise unknown("method", name, names)
    ready, run = result.task, result.runs[method]
    snapshot = kept(run, ready)
    if round not in rounds_of(run):
        raise ValueError(f"round={round}: {method} acquired in the rounds 0 to {max(rounds_of(run))}")
    first = ready.settings.first_seed
    seed = first if seed is None else seed
    acquired = run.campaign.acquired.query("seed == @seed and round == @round")
    if acquired.empty:
        raise ValueError(f"seed={seed}: {method} acquired nothing with it in round {round}")
    chosen = list(dict.fromkeys([method, *(others or names)]))
    of_seed, seen_by = of_seeds(snapshot(round), [seed - first]), judge(ready, result.methods, [seed], 4000)
    with progress() as (console, report):
        judged = {name: seen_by(name, round, of_seed) for name in counted(chosen, "looking", console, report)}
    labels = int(run.campaign.rounds.query("seed == @seed and round == @round")["num_labelled"].iloc[0])
    title = f"{ready.name}: what {method} picked at {labels} labels (round {round}, seed {seed})"
    return _inspected(ready, title, method, judged)


def _inspected(ready: Ready, title: str, method: str, judged: dict[str, Judged]) -> Inspection:
    mine, labels = judged[method], ready.dataset.labels
    taken = np.flatnonzero(mine.valid[0])
    rows, mean, spread = mine.rows[0][taken], mine.mean[0][taken], mine.spread[0][taken]
    picks = pd.DataFrame({"pick": taken, "row": rows, "label": labels[rows], "predicted": mean.argmax(-1)})
    picks["probability"] = mean.max(-1)
    for name, found in judged.items():
        scores = found.pool[0]
        if np.unique(scores[~np.isnan(scores)]).size > 1:  # random scores all rows alike, a batch method none
            ranks = pd.Series(scores).rank(ascending=False, method="min")
            picks[name], picks[f"{name}_rank"] = scores[rows], ranks[rows].to_numpy()
    of_method = {name: set(found.rows[0][found.valid[0]].tolist()) for name, found in judged.items()}
    overlap = {a: {b: len(of_method[a] & of_method[b]) for b in judged} for a in judged}
    batches = pd.DataFrame(
        {
            "method": name,
            "information": found.information[0],
            "single": found.single[0],
            "redundancy": redundancy(found, (0,)),
            "class_balance": class_balance(labels[[*of_method[name]]], num_classes(ready.dataset)),
        }
        for name, found in judged.items()
    )
    counts = {n: np.bincount(labels[[*r]], minlength=num_classes(ready.dataset)) for n, r in of_method.items()}
    predictions = pd.DataFrame(
        {"pick": pick, "class": c, "mean": mean[i, c], "spread": spread[i, c]}
        for i, pick in enumerate(taken)
        for c in range(mean.shape[1])
    )
    classes = pd.DataFrame.from_dict(counts, orient="index")
    return Inspection(ready, title, picks, predictions, pd.DataFrame(overlap), batches, classes)


def draw_row(axes: Axes, ready: Ready, row: int) -> None:
    """One row of the pool: an image, a point among the others in the plane, or its number."""
    x = take(ready.dataset.inputs, np.asarray([row]))
    values = np.asarray(x)[0] if hasattr(x, "shape") else np.empty(0)
    axes.set_xticks([])
    axes.set_yticks([])
    if values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in (1, 3)):
        axes.imshow(values.squeeze(), cmap="gray_r" if values.size == values.squeeze().size else None)
    elif values.shape == (2,):
        pool = np.asarray(ready.dataset.inputs)
        axes.scatter(pool[:, 0], pool[:, 1], s=1, c="#cccccc")
        axes.scatter(values[:1], values[1:], s=40, c=plots.PALETTE[1])
        axes.set_aspect("equal")
    else:
        axes.text(0.5, 0.5, f"row {row}", ha="center", va="center", transform=axes.transAxes)


def matrix(axes: Axes, table: pd.DataFrame, title: str) -> None:
    """Small whole numbers as a picture with the numbers in it."""
    values = table.to_numpy()
    axes.imshow(values, cmap="Blues", aspect="auto", vmin=0, vmax=max(values.max(), 1))
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, value or "", ha="center", va="center", color="white" if value > values.max() / 2 else "black")
    axes.set_xticks(range(len(table.columns)), table.columns, fontsize=9)
    axes.set_yticks(range(len(table.index)), table.index, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
