"""One rule for the numbers of a recipe, for every data set and posterior: validation NLL on labels of random rows.

Random rows of the pool are labelled, 20 a class on average: on half of them the network is trained, on the others
tested. All settings run as one sweep. The lowest mean NLL over `DRAWS` draws of rows and `SEEDS` seeds wins. No
acquisition, and no test row, has a part in it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from al_jax import campaign, vocabulary
from al_jax.campaign import Settings, store
from al_jax.data import Dataset
from experiments.atlas.arms import (
    BASELINE,
    DROPOUTS,
    LEARNING_RATES,
    SOURCES,
    STEPS,
    Arm,
    Setting,
    experiment_of,
    metric_of,
    safe,
)
from experiments.experiment import build

DRAWS, SEEDS, LABELS = 4, 4, 10
"""Draws of rows, seeds, and labels a class to train on, and as many to validate on."""
SWEEP = {"learning_rate": LEARNING_RATES, "dropout": DROPOUTS}


def file_of(data: str, posterior: str, results: Path) -> Path:
    """Where what was tried is kept."""
    return results / data / f"tuning_{safe(posterior)}.csv"


def setting_of(data: str, posterior: str, results: Path) -> Setting:
    """The chosen numbers; found now where they were not before."""
    path = file_of(data, posterior, results)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_table(path, tried(data, posterior))
    return chosen(store.read_table(path))


def chosen(table: pd.DataFrame) -> Setting:
    """The row with the lowest NLL."""
    best = table.loc[table["nll"].idxmin()]
    return Setting(float(best["learning_rate"]), float(best["dropout"]))


def tried(data: str, posterior: str) -> pd.DataFrame:
    """A row for each setting: learning rate, dropout rate, mean validation NLL, accuracy or RMSE, standard error."""
    first = Setting(LEARNING_RATES[0], DROPOUTS[0])
    dataset = build(experiment_of(Arm(data, "low", posterior, BASELINE), first, SEEDS)).dataset
    size, found = LABELS * SOURCES[data].classes, []
    settings = Settings(seeds=SEEDS, initial_labels=size, max_labels=size, batch_size=1, balanced=False)
    halves = [split(dataset, draw, size) for draw in range(DRAWS)]
    recipe, likelihood = vocabulary.recipe(posterior, halves[0], "mlp", f"adam, steps={STEPS}", swept=SWEEP)
    for half in halves:
        done = campaign.run(
            recipe, vocabulary.acquisition(BASELINE), half, settings, likelihood=likelihood, sweep=SWEEP
        )
        found.append(done.rounds)
    by = pd.concat(found).groupby([*SWEEP])
    table = by[["nll", metric_of(data)]].mean().assign(nll_sem=by["nll"].sem())
    return table.reset_index().round({"nll": 4, "nll_sem": 4, "accuracy": 4, "rmse": 5})


def split(dataset: Dataset, draw: int, size: int) -> Dataset:
    """So many random rows as the pool, and as many others as the test set."""
    rows = np.random.default_rng(draw).permutation(len(dataset.labels))[: 2 * size]
    inputs = np.asarray(dataset.inputs)[rows]
    labels = dataset.labels[rows]
    return Dataset(dataset.name, inputs[:size], labels[:size], inputs[size:], labels[size:], dataset.num_classes)
