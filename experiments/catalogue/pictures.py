"""What an acquisition picks on two moons, as a small picture."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from al_jax import data, plots, vocabulary
from al_jax.engine.learning import functions_of
from al_jax.pool import candidates
from al_jax.types import Data, Labelled, Pool, Round

LABELLED, BATCH, DRAWS = 8, 10, 50
SIDES = LinearSegmentedColormap.from_list("sides", [plots.PALETTE[0], "#ffffff", plots.PALETTE[1]])


def draw(text: str, path: Path) -> None:
    """Draw the batch that the acquisition of this text picks, in its order, and what the posterior predicts there."""
    figure = Figure(figsize=(2.6, 2.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    inputs, labels, known, picks = picked(text)
    x, y = (np.linspace(column.min() - 0.3, column.max() + 0.3, 60) for column in inputs.T)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(np.float32)
    functions = functions_of(*trained())
    share = np.exp(np.asarray(functions(jnp.asarray(grid)).log_probs)).mean(1)[:, 1].reshape(60, 60)
    axes.contourf(x, y, share, levels=np.linspace(0, 1, 9), cmap=SIDES, alpha=0.35)
    across, up = inputs.T
    colours = [plots.PALETTE[label] for label in labels[known]]
    axes.scatter(across, up, s=3, color="#888888", linewidths=0)
    axes.scatter(across[known], up[known], s=22, marker="s", c=colours, edgecolor="black")
    axes.scatter(across[picks], up[picks], s=60, color="white", edgecolor="black", linewidths=0.8, zorder=3)
    for place, row in enumerate(picks, 1):
        axes.text(across[row], up[row], str(place), ha="center", va="center_baseline", fontsize=6, zorder=4)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.savefig(path)


def picked(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pool, labels, the labelled rows, and the rows that the acquisition picks."""
    moons = data.two_moons(300)
    acquisition, known = vocabulary.acquisition(text), known_rows()
    available = jnp.ones(len(moons.labels), bool).at[known].set(False)
    keys = jax.random.split(jax.random.key(3), 5)
    inputs = jnp.asarray(moons.inputs)

    posterior, state, draws = trained()

    @jax.jit
    def batch() -> jax.Array:
        pool = Pool(inputs, available)
        head = None if posterior.head is None else lambda features: posterior.head(state, inputs[:1], features)
        functions = functions_of(posterior, state, draws)
        round = Round(keys[0], functions, Data(labelled(), None, pool), acquisition.init(keys[1], pool), None, head)
        round = round._replace(context=acquisition.prepare(keys[2], round))
        offered = candidates(keys[3], acquisition, round, inputs, available, 300)
        found = acquisition.select(keys[4], round, offered.summary, offered.available, BATCH)
        return offered.rows[found.indices]

    return moons.inputs, moons.labels, known, np.asarray(batch())


def known_rows() -> np.ndarray:
    """The rows that are labelled: four of each class."""
    return data.initial_rows(1, data.two_moons(300).labels, LABELLED, 2, True)


def labelled() -> Labelled:
    """And their labels."""
    moons, rows = data.two_moons(300), known_rows()
    inputs, labels = jnp.asarray(moons.inputs[rows]), jnp.asarray(moons.labels[rows])
    return Labelled(inputs, labels, jnp.ones(LABELLED), jnp.asarray(rows, jnp.int32), jnp.asarray(LABELLED))


@functools.cache
def trained() -> tuple:
    """MC dropout trained on them: posterior, state, draws."""
    posterior, _ = vocabulary.posterior("mc_dropout", data.two_moons(300), "mlp(hidden=(64, 64), dropout=0.2)")
    init, fit, sample = jax.random.split(jax.random.key(0), 3)
    known = labelled()
    state, _ = jax.jit(lambda: posterior.fit(fit, posterior.init(init, known.inputs), Data(known)))()
    return posterior, state, posterior.sample(sample, state, DRAWS)
