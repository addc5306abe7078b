"""Pictures of `rounds` (see `al_jax.results`), at the size of a slide and without pyplot's global state."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from al_jax import results

# Colour-blind safe (Okabe & Ito 2008) without its yellow and black; from the seventh method on dashes tell them apart.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
GREY = "#767676"
NAMES = {"nll": "negative log-likelihood (nats)", "ece": "calibration error (ECE)", "brier": "Brier score"}
SHARES = ["accuracy", "ece"]  # metrics in [0, 1], shown in %


Style = tuple[str, str]  # dash, colour


class Look(NamedTuple):
    """How wide lines are and how large text is, in points."""

    line: float = 2.5
    ticks: int = 15
    label: int = 17


SLIDE = Look()


def learning_curves(
    rounds: pd.DataFrame, metric: str = "accuracy", title: str | None = None, baseline: str = "random"
) -> Figure:
    """Mean over seeds of a metric against the labelled rows: a line per method, Student's 95 % interval as its band.

    The legend is ordered as the lines are on average; `baseline`, where it is one of the methods, is grey. Accuracy and
    ECE are in %; means that are not finite are left out. Save it with `figure.savefig`; a notebook shows it after
    `%matplotlib inline`. ValueError for an unknown metric, and for one that is finite nowhere.
    """
    table = _finite_curve(rounds, metric)
    figure = Figure(figsize=(10, 5.6), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    lines = draw_curves(figure.add_subplot(), table, metric, method_styles(table["method"].unique(), baseline))
    figure.axes[0].set_title(title or "", loc="left", fontsize=19, fontweight="bold", pad=12)
    figure.legend(handles=lines, loc="outside right center", fontsize=15, frameon=False, handlelength=1.6)

    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    seeds = f"{most} seed{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} seeds"
    band = "; band: 95 % confidence interval of the mean (Student's t)" if most > 1 else ""
    figure.supxlabel(f"Mean over {seeds}{band}", fontsize=13, color="#555555")
    return figure


def column(rounds: pd.DataFrame, metric: str = "accuracy", width: float = 3.3, baseline: str = "random") -> Figure:
    """`learning_curves` for one column of a paper, `width` inches wide: text of 7 to 8 points, the legend below.

    `figure.savefig("curves.pdf")` writes it as vectors. Errors as of `learning_curves`.
    """
    table = _finite_curve(rounds, metric)
    methods = table["method"].unique()
    columns = 1 if max(map(len, methods)) > 24 else 2 if max(map(len, methods)) > 12 else 3
    height = 0.62 * width + 0.15 * -(-len(methods) // columns)
    figure = Figure(figsize=(width, height), dpi=300, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    styles = method_styles(methods, baseline)
    lines = draw_curves(figure.add_subplot(), table, metric, styles, Look(line=1.2, ticks=7, label=8))
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)
    return figure


def comparison(
    rounds: pd.DataFrame, differences: pd.DataFrame, title: str | None = None, highlight: Sequence[str] | None = None
) -> Figure:
    """Learning curves of accuracy, and beside them a panel of paired differences to each baseline in `differences`.

    `differences` has the columns baseline, method, num_labelled, mean, low, high; what it gives as intervals are the
    bands. `highlight` names the methods that have bands there; by default all have.
    """
    table = results.curve(rounds)
    table = table[np.isfinite(table["mean"])]
    styles = method_styles(table["method"].unique(), "random")
    chosen = list(styles) if highlight is None else list(highlight)
    baselines = list(differences["baseline"].unique())
    figure = Figure(figsize=(14, 5.6), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    grid = figure.add_gridspec(max(len(baselines), 1), 2, width_ratios=[1.25, 1])
    lines = draw_curves(figure.add_subplot(grid[:, 0]), table, "accuracy", styles)
    figure.axes[0].set_title(title or "", loc="left", fontsize=16, fontweight="bold", pad=12)
    for place, baseline in enumerate(baselines):
        axes = figure.add_subplot(grid[place, 1], sharex=figure.axes[1] if place else None)
        for method, gap in differences[differences["baseline"] == baseline].groupby("method", sort=False):
            (dash, colour), bold = styles[method], method in chosen
            if bold:
                axes.fill_between(gap["num_labelled"], gap["low"], gap["high"], color=colour, alpha=0.2, linewidth=0)
            width = 2.5 if bold else 1.2
            axes.plot(gap["num_labelled"], gap["mean"], dash, color=colour, linewidth=width, alpha=1 if bold else 0.6)
        axes.axhline(0, color=styles[baseline][1], linewidth=1.5)
        _plain(axes, 12)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
        axes.set_title(f"accuracy minus that of {baseline}, % points", loc="left", fontsize=13)
        axes.tick_params(labelbottom=place == len(baselines) - 1)
    figure.axes[-1].set_xlabel("labelled rows", fontsize=14)
    figure.legend(handles=lines, loc="outside right center", fontsize=14, frameon=False, handlelength=1.6)
    note = "Bands, 95 %. Left: of each mean. Right: of the paired difference, at all budgets at once"
    figure.supxlabel(note, fontsize=12, color="#555555")
    return figure


def method_styles(methods: Sequence[str], baseline: str | None = None) -> dict[str, Style]:
    """A dash and a colour for every method, in this order; `baseline` is grey."""
    styles = itertools.cycle(itertools.product(["-", "--", ":"], PALETTE))
    return {method: ("-", GREY) if method == baseline else next(styles) for method in methods}


def _finite_curve(rounds: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Means that can be drawn; ValueError when there is none."""
    table = results.curve(rounds, metric)
    table = table[np.isfinite(table["mean"])]
    if table.empty:
        raise ValueError(f"metric={metric!r} is finite in no round: there is nothing to draw")
    return table


def draw_curves(
    axes: Axes, table: pd.DataFrame, metric: str, styles: dict[str, Style], look: Look = SLIDE
) -> list[Line2D]:
    """Draw what `results.curve` returned; the lines, in the order in which they lie on average."""
    lines = []
    for method, means in table.groupby("method", sort=False):
        dash, colour = styles[method]
        x, single = means["num_labelled"], len(means) == 1
        axes.fill_between(x, means["low"], means["high"], color=colour, alpha=0.2, linewidth=4 * single)
        lines += axes.plot(x, means["mean"], dash, color=colour, linewidth=look.line, label=method, marker="o" * single)
    if metric in SHARES:  # an interval may reach beyond what is possible
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    _plain(axes, look.ticks)
    axes.set_xlabel("labelled rows", fontsize=look.label)
    axes.set_ylabel(NAMES.get(metric, metric), fontsize=look.label)
    return sorted(lines, key=lambda line: -np.mean(np.asarray(line.get_ydata(), float)))


def _plain(axes: Axes, size: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.margins(x=0.02)
    axes.grid(color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=size, length=0)
