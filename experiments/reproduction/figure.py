"""The figure of a reproduced paper: its learning curves as we measured them, with the authors' runs as markers."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from al_jax import plots, results
from experiments.published.runs import Published
from experiments.reproduction.comparison import Paper, Part, Result

COLUMNS = 3
NAMES = {"accuracy": "test accuracy"} | plots.NAMES
MARKERS = "osD^vPX"  # more than there are colours: two arms that share one differ in the other


def figure(paper: Paper, found: list[Result]) -> Figure | None:
    """A panel for every preset, part and metric of which there are results; None when there are none."""
    panels = [
        (preset, part, metric)
        for preset in sorted({result.preset for result in found})
        for part in paper.parts
        if any(result.preset == preset and result.arm in part.arms for result in found)
        for metric in part.metrics
    ]
    if not panels:
        return None
    per_part = max(len(part.metrics) for _, part, _ in panels)
    columns = per_part if per_part > 1 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    drawn = Figure(figsize=(max(5.6 * columns, 8), 4.6 * rows + 0.6), dpi=150, layout="constrained")
    for place, (preset, part, metric) in enumerate(panels):
        axes = drawn.add_subplot(rows, columns, place + 1)
        here = [r for arm in part.arms for r in found if r.preset == preset and r.arm == arm]
        _panel(axes, paper, part, metric, here)
        if metric == part.metrics[0]:
            axes.set_title(f"{part.title}; preset {preset}", loc="left", fontsize=12, fontweight="bold")
            axes.legend(loc="lower right", fontsize=9, frameon=False)
    compared = any(result.arm in paper.published for result in found)
    markers = "\nMarkers, moved aside a little: median and range of the authors' runs" if compared else ""
    drawn.supxlabel(f"{paper.cited}. Lines: our median over seeds, bands: quartiles{markers}", fontsize=11)
    return drawn


def styles(arms: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """A dash and a colour for every arm, random ones grey; the same wherever the part is drawn."""
    coloured = itertools.cycle(itertools.product(["-", "--", ":"], plots.PALETTE))
    greys = itertools.cycle([("-", plots.GREY), ("--", plots.GREY), (":", plots.GREY)])
    return {arm: next(greys if arm.split("_")[-1] == "random" else coloured) for arm in arms}


def quartile_curve(rounds: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Of every label count the quartiles over seeds, each the value of a seed: columns q25, median, q75."""
    by_count = rounds.dropna(subset=metric).groupby("num_labelled")[metric]
    found = {labels: results.quartiles(values) for labels, values in by_count}
    return pd.DataFrame.from_dict(found, orient="index", columns=results.QUARTILES)


def _panel(axes: Axes, paper: Paper, part: Part, metric: str, found: list[Result]) -> None:
    look = styles(part.arms)
    last = max(result.config.settings.max_labels for result in found)
    for place, result in enumerate(found):
        dash, colour = look[result.arm]
        curve = quartile_curve(result.kept.rounds, metric)
        seeds = len(result.kept.seeds)
        label = f"{result.arm} ({seeds} seed{'s' * (seeds > 1)})"
        axes.fill_between(curve.index, curve["q25"], curve["q75"], color=colour, alpha=0.18, linewidth=0)
        (line,) = axes.plot(curve.index, curve["median"], dash, color=colour, linewidth=1.8, label=label)
        if metric == "accuracy" and result.arm in paper.published:
            aside, marker = 0.005 * last * (place - (len(found) - 1) / 2), MARKERS[place % len(MARKERS)]
            _markers(axes, paper.published[result.arm], last, aside, color=colour, fmt=marker)
            line.set(marker=marker, markevery=[], mec="white", mew=0.7)  # in the legend alone
    if metric == "accuracy":
        for threshold in sorted({q.at for table in part.tables for q in table if q.kind == "labels"}):
            axes.axhline(threshold, color="#bbbbbb", linewidth=0.8, linestyle=":")
    if metric in plots.SHARES:
        decimals = 0 if metric == "accuracy" else None
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=decimals, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("labelled images")
    axes.set_ylabel(NAMES[metric])


def _markers(axes: Axes, published: Published, last: int, aside: float, **look: Any) -> None:
    counts = [count for count in published.counts if count <= last]
    runs = np.array([published.accuracy_at(count) for count in counts])
    middle = np.array([results.quartiles(values)[1] for values in runs])
    ends = np.stack([middle - runs.min(1), runs.max(1) - middle])
    x = np.array(counts) + aside
    axes.errorbar(x, middle, ends, markersize=5, mec="white", mew=0.7, elinewidth=0.9, zorder=3, **look)
