"""Where in the plane a score looks: its surface over two moons."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from al_jax import campaign, plots
from al_jax.acquisitions import random, top_k
from al_jax.engine.cycle import Steps, steps
from al_jax.engine.learning import Sizes
from al_jax.engine.state import State, keys
from al_jax.information import log_marginal, mutual_information
from al_jax.lab import recorded
from al_jax.lab.check import check_usable, name_of
from al_jax.lab.compare import check_traces
from al_jax.lab.judge import Values, pointwise
from al_jax.lab.recorded import Ready
from al_jax.lab.show import figure_html, table_text
from al_jax.lab.tasks import Task
from al_jax.lab.tasks import task as task_of
from al_jax.likelihood import categorical
from al_jax.pool import candidates, stream
from al_jax.types import Acquisition, Data, Learned, Pool, ScoreFn

MARGIN = 0.4
CLASSES = [plots.PALETTE[0], plots.PALETTE[1], plots.PALETTE[2], plots.PALETTE[3]]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Surface:
    """Scores over the plane, from one posterior, and the rows each picks from the pool.

    Attributes, plain tables:
      grid: x, y, probability (of class 1) and a column for each score; for an acquisition that scores no single rows,
        such as BatchBALD, BALD, by which it picks its first.
      picks: method, pick, row, x, y, label.
      labelled: row, x, y, label of the rows that the posterior was trained on.
    """

    task: Ready
    grid: pd.DataFrame
    picks: pd.DataFrame
    labelled: pd.DataFrame
    shaded_by: dict[str, str]

    def figure(self) -> Figure:
        """A panel for each score: dark where it looks; the pool, the labelled rows, and the picks in their order."""
        names = list(self.shaded_by)
        figure = Figure(figsize=(4.6 * len(names), 4.6), dpi=120, layout="constrained")
        x, y = (np.unique(self.grid[axis]) for axis in "xy")
        pool = np.asarray(self.task.dataset.inputs)
        for place, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), place + 1)
            score, p = (self.grid[c].to_numpy().reshape(len(y), len(x)) for c in (name, "probability"))
            axes.contourf(x, y, score, levels=24, cmap="Greys")
            axes.contour(x, y, p, levels=[0.5], colors=plots.PALETTE[2], linewidths=1.5)
            axes.scatter(
                pool[:, 0],
                pool[:, 1],
                s=3,
                c=[CLASSES[c % 4] for c in self.task.dataset.labels],
                alpha=0.35,
                linewidths=0,
            )
            axes.scatter(
                self.labelled["x"],
                self.labelled["y"],
                s=70,
                marker="s",
                c=[CLASSES[c % 4] for c in self.labelled["label"]],
                edgecolors="white",
            )
            picked = self.picks[self.picks["method"] == name]
            axes.scatter(picked["x"], picked["y"], s=150, c=plots.PALETTE[5], edgecolors="black", zorder=3)
            for pick in picked.itertuples():
                axes.text(pick.x, pick.y, pick.pick + 1, ha="center", va="center", fontsize=8, zorder=4)
            axes.set_title(self.shaded_by[name], loc="left", fontsize=13)
            axes.set(xticks=[], yticks=[], aspect="equal")
        note = "Dark: the score is high. Squares: labelled. Dots: pool. Circles: picks, in order. Line: the boundary"
        figure.supxlabel(note, fontsize=10, color="#555555")
        return figure

    def __repr__(self) -> str:
        return table_text(self.picks.round(2).astype(str), f"{self.task.name}: what is picked")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return figure_html(self.figure())


def surface(
    scores: ScoreFn | Acquisition | Mapping[str, ScoreFn | Acquisition],
    labels: int = 10,
    batch_size: int = 5,
    seed: int = 0,
    task: str | Task = "two_moons",
    resolution: int = 60,
) -> Surface:
    """Train once on `labels` random rows of two moons, and draw where one or several scores look.

    Args:
      batch_size: rows that each picks.
      seed: of the rows, the network and the posterior samples.
      task: any whose inputs are points [n, 2] in the plane.
      resolution: points of the grid along each axis.

    CheckError when a score cannot work; ValueError when the inputs are no points in the plane.
    """
    scores = scores if isinstance(scores, Mapping) else {name_of(scores): scores}
    acquisitions = {name: s if isinstance(s, Acquisition) else top_k(s) for name, s in scores.items()}
    recorded.start()
    options = {"initial_labels": labels, "max_labels": labels + batch_size, "batch_size": batch_size}
    ready = recorded.ready(task_of(task, first_seed=seed, seeds=1, **options))
    points = np.asarray(ready.dataset.inputs)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"task={ready.name!r} has inputs {list(points.shape)}: expected points [n, 2] in the plane")
    for name, score in scores.items():
        if not isinstance(score, Acquisition):
            check_usable(score, name)
        check_traces(ready, name, acquisitions[name])
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    x, y = np.meshgrid(*(np.linspace(low[i], high[i], resolution, dtype=np.float32) for i in (0, 1)))
    grid, picks = pd.DataFrame({"x": x.ravel(), "y": y.ravel()}), []
    rows, shaded_by = campaign.start_rows(ready.dataset, ready.settings)[0], {}
    state = _fitted(ready, seed, rows)
    for name, acquisition in acquisitions.items():
        found = _looked(ready, acquisition, state, grid[["x", "y"]].to_numpy())
        own = bool(np.isfinite(found.score).all())
        grid["probability"], grid[name] = found.probability, found.score if own else found.bald
        shaded_by[name] = name if own else f"{name} (shade: BALD)"
        picks.append(_points(ready, np.asarray(found.rows)).rename_axis("pick").reset_index().assign(method=name))
    table = pd.concat(picks, ignore_index=True)[["method", "pick", "row", "x", "y", "label"]]
    return Surface(ready, grid, table, _points(ready, rows), shaded_by)


class Looked(NamedTuple):
    """What one acquisition does in the plane."""

    rows: Int[Values, " B"]
    score: Float[Values, " g"]
    bald: Float[Values, " g"]
    probability: Float[Values, " g"]  # of class 1


def _fitted(ready: Ready, seed: int, rows: np.ndarray) -> State:
    """A posterior trained on `rows`, in its state of a campaign's first round."""
    step = _steps(ready, random())

    @jax.jit
    def fitted(key: Array, inputs: Array, labels: Array) -> State:
        state = step.start(key, inputs[rows], rows, labels, jnp.ones(len(inputs), bool))
        return step.learn(state, inputs, None, state.labelled)[0]  # its metrics are not wanted

    return fitted(jax.random.key(seed), jnp.asarray(ready.dataset.inputs), ready.dataset.labels[rows])


def _looked(ready: Ready, acquisition: Acquisition, state: State, grid: np.ndarray) -> Looked:
    """Pick from the pool, and score the points `grid [g, 2]`."""
    step, size = _steps(ready, acquisition), ready.settings.chunk_size or campaign.DEFAULT_CHUNK

    @jax.jit
    def look(state: State, inputs: Array, grid: Array) -> Looked:
        pool = Pool(inputs, state.available)
        data = Data(state.labelled, None, pool)
        state = state._replace(memory=acquisition.init(keys(state).init, pool))
        begun = step.begin(state, data)
        round = step.as_round(state, data, begun)
        offered = candidates(keys(state).pool, acquisition, round, inputs, state.available, size)
        picked = step.finish(state, Learned({}, {}), data, begun, offered.rows, offered.summary)

        def at(x: Array, numbers: Array) -> tuple[Array, Array, Array]:
            log_probs = round.functions(x).log_probs
            score = pointwise(acquisition.summarise(round, x, jnp.zeros(len(x), jnp.int32)))
            return score, mutual_information(log_probs), jnp.exp(log_marginal(log_probs))[:, 1]

        return Looked(picked.rows, *stream(at, grid, jnp.arange(len(grid)), size))

    return Looked(*map(np.asarray, look(state, jnp.asarray(ready.dataset.inputs), grid)))


def _steps(ready: Ready, acquisition: Acquisition) -> Steps:
    s = ready.settings
    sizes = Sizes(s.batch_size, s.num_samples, s.max_labels, chunk_size=s.chunk_size or campaign.DEFAULT_CHUNK)
    return steps(ready.posterior, acquisition, categorical(), sizes)


def _points(ready: Ready, rows: np.ndarray) -> pd.DataFrame:
    x, y = np.asarray(ready.dataset.inputs)[rows].T
    return pd.DataFrame({"row": rows, "x": x, "y": y, "label": ready.dataset.labels[rows]})
