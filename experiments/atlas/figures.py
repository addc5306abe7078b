"""Pictures of the page: learning curves of the best, and who beats whom."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from al_jax import across, plots, results
from experiments.atlas.arms import BASELINE

SHOWN, COMPARED = 5, 20


def curves(rounds: pd.DataFrame, title: str, path: Path) -> None:
    """Learning curves of the methods of the largest area, of BALD and of the baseline."""
    areas = results.aubc(rounds).groupby("method")["aubc"].mean().sort_values(ascending=False)
    best = [method for method in areas.index if method not in (BASELINE, "bald")][:SHOWN]
    chosen = [method for method in (*best, "bald", BASELINE) if method in areas.index]
    some = pd.concat([rounds[rounds["method"] == method] for method in chosen])
    metric = "rmse" if "rmse" in some else "accuracy"
    plots.learning_curves(some, metric, title=title).savefig(path, dpi=70)


def matrix(found: across.Scores, title: str, path: Path) -> None:
    """How often the row's method beats the column's over runs and data sets, for the best methods and the baseline."""
    ranks = across.average_ranks(np.stack(list(found.values())))
    ordered = [method for _, method in sorted(zip(ranks, found, strict=True)) if method != BASELINE]
    names = [*ordered[:COMPARED], BASELINE]
    shares = np.array([[across.improvement(found[row], found[column]) for column in names] for row in names])
    side = 2.6 + 0.26 * len(names)
    figure = Figure(figsize=(side, side), dpi=70, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, vmin=0, vmax=1, cmap="PuOr")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, loc="left")
    figure.colorbar(picture, ax=axes, shrink=0.6, label="P(a run of the row's method is better)")
    figure.savefig(path)
