"""The picture of `posterior_quality`: what each posterior believes in the plane, and where BALD looks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from al_jax import plots
from al_jax.acquisitions import bald
from al_jax.information import log_marginal
from experiments.posterior_quality.references import Problem

RESOLUTION, MARGIN, PER_BAND = 60, 0.5, 7
STEP = 0.05  # nats between two shades of BALD
CLASSES = LinearSegmentedColormap.from_list("classes", [plots.PALETTE[0], "#f7f7f7", plots.PALETTE[1]])
MARKERS = "o^"


class Surfaces(NamedTuple):
    """By posterior: `[2, RESOLUTION, RESOLUTION]`, the mean probability of class 1 and BALD in nats; BALD's ranks."""

    values: dict[str, Float[np.ndarray, "2 y x"]]
    ranks: dict[str, float]
    problem: Problem


def grid(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the two axes, around the pool."""
    low, high = problem.pool.min(0) - MARGIN, problem.pool.max(0) + MARGIN
    x, y = (np.linspace(low[axis], high[axis], RESOLUTION, dtype=np.float32) for axis in (0, 1))
    return x, y


def on_grid(predict: Callable[[Array], Any], problem: Problem, rows: int) -> Float[np.ndarray, "2 y x"]:
    """Evaluate on the grid by a compiled `predict` of exactly `rows` rows; the last call is filled up."""
    points = np.stack(np.meshgrid(*grid(problem)), axis=-1).reshape(-1, 2)
    filled = np.resize(points, (-(-len(points) // rows) * rows, 2)).reshape(-1, rows, 2)
    parts = [_mean_and_bald(predict(jnp.asarray(part)).log_probs) for part in filled]
    return np.concatenate(parts, axis=1)[:, : len(points)].reshape(2, RESOLUTION, RESOLUTION)


@jax.jit
def _mean_and_bald(log_probs: Float[Array, "n K 2"]) -> Float[Array, "2 n"]:
    return jnp.stack([jnp.exp(log_marginal(log_probs)[:, 1]), bald(log_probs)])


def figure(surfaces: Surfaces, title: str) -> Figure:
    """A column a posterior, the predictive mean above BALD, in bands of up to 7; each of the two has one scale."""
    names, (x, y), known = list(surfaces.values), grid(surfaces.problem), surfaces.problem
    bands = -(-len(names) // PER_BAND)
    columns = -(-len(names) // bands)
    drawn = Figure(figsize=(2.1 * columns + 1.2, 4.5 * bands + 0.7), dpi=120, layout="constrained")
    axes = drawn.subplots(2 * bands, columns, sharex=True, sharey=True, squeeze=False)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[], frame_on=False)
    largest = max(float(values[1].max()) for values in surfaces.values.values())
    levels = np.linspace(0, 1, 11), np.arange(0, largest + STEP, STEP)
    for place, name in enumerate(names):
        band, column = divmod(place, columns)
        pair = axes[2 * band : 2 * band + 2, column]
        shades = [
            panel.contourf(x, y, values, levels=level, cmap=colours)
            for panel, values, level, colours in zip(
                pair, surfaces.values[name], levels, (CLASSES, "cividis"), strict=True
            )
        ]
        for panel in pair:
            for label, marker in enumerate(MARKERS):
                points = known.inputs[known.labels == label]
                colour = plots.PALETTE[label]
                panel.scatter(*points.T, color=colour, marker=marker, s=34, edgecolors="white", linewidths=0.9)
        rank = surfaces.ranks.get(name, np.nan)
        pair[0].set_title(name, fontsize=14, fontweight="bold" if name == "reference" else "normal")
        pair[1].set_title("all equal" if np.isnan(rank) else f"rank corr. {rank:.2f}", fontsize=12)
        if column == 0:
            for panel, what in zip(pair, ("predictive mean", "BALD"), strict=True):
                panel.set_ylabel(what, fontsize=14)
    halves = axes[:bands], axes[bands:]
    for shade, half, what in zip(shades, halves, ("probability of class 1", "BALD (nats)"), strict=True):
        bar = drawn.colorbar(shade, ax=half, shrink=0.8, pad=0.01, location="right")
        bar.set_label(f"{what}, in all panels", fontsize=13)
    drawn.suptitle(title, fontsize=18, fontweight="bold", x=0.01, ha="left")
    note = "Markers: labelled rows. Rank corr.: Spearman's, of BALD over the pool, with an independent long run of NUTS"
    drawn.supxlabel(note, fontsize=12, color="#555555")
    return drawn
