"""Pictures of `rounds` (see `al_jax.results`), at the size of a slide and without pyplot's global state."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from al_jax import results

# Colour-blind safe (Okabe & Ito 2008) without its yellow and black; from the seventh method on dashes tell them apart.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
GREY = "#767676"
NAMES = {"nll": "negative log-likelihood (nats)", "ece": "calibration error (ECE)", "brier": "Brier score"}
SHARES = ["accuracy", "ece"]  # metrics in [0, 1], shown in %


def learning_curves(
    rounds: pd.DataFrame, metric: str = "accuracy", title: str | None = None, baseline: str = "random"
) -> Figure:
    """Mean over seeds of a metric against the labelled rows: a line per method, Student's 95 % interval as its band.

    The legend is ordered as the lines are on average; `baseline`, where it is one of the methods, is grey. Accuracy and
    ECE are in %; means that are not finite are left out. Save it with `figure.savefig`; a notebook shows it after
    `%matplotlib inline`. ValueError for an unknown metric.
    """
    table = results.curve(rounds, metric)
    table = table[np.isfinite(table["mean"])]
    figure = Figure(figsize=(10, 5.6), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.add_subplot()
    styles = itertools.cycle(itertools.product(["-", "--", ":"], PALETTE))
    lines = []
    for method, means in table.groupby("method", sort=False):
        dash, colour = ("-", GREY) if method == baseline else next(styles)
        x, single = means["num_labelled"], len(means) == 1
        axes.fill_between(x, means["low"], means["high"], color=colour, alpha=0.2, linewidth=4 * single)
        lines += axes.plot(x, means["mean"], dash, color=colour, linewidth=2.5, label=method, marker="o" * single)

    if metric in SHARES:  # an interval may reach beyond what is possible
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.margins(x=0.02)
    axes.grid(color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=15, length=0)
    axes.set_xlabel("labelled rows", fontsize=17)
    axes.set_ylabel(NAMES.get(metric, metric), fontsize=17)
    axes.set_title(title or "", loc="left", fontsize=19, fontweight="bold", pad=12)
    lines.sort(key=lambda line: -np.mean(np.asarray(line.get_ydata(), float)))
    figure.legend(handles=lines, loc="outside right center", fontsize=15, frameon=False, handlelength=1.6)

    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    seeds = f"{most} seed{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} seeds"
    band = "; band: 95 % confidence interval of the mean (Student's t)" if most > 1 else ""
    figure.supxlabel(f"Mean over {seeds}{band}", fontsize=13, color="#555555")
    return figure
