"""Regressions on tables: scikit-learn's bundled diabetes data, and from a file the UCI sets of the literature."""

import os

import numpy as np
from jaxtyping import Float
from sklearn.datasets import load_diabetes

from al_jax.data.dataset import Dataset
from al_jax.data.npz import read_npz
from al_jax.data.splits import split_rows
from al_jax.errors import unknown

UCI_NAMES = (
    "bostonHousing",
    "concrete",
    "energy",
    "kin8nm",
    "naval_propulsion_plant",
    "power_plant",
    "protein_tertiary_structure",
    "wine_quality_red",
    "yacht",
)
"""The sets of Hernandez-Lobato & Adams 2015, by their names there."""


def regression(
    name: str, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], test_share: float = 0.2, seed: int = 0
) -> Dataset:
    """A regression of y on the columns of x, split at random; columns are standardised by the pool, y is as it is.

    The split has its own seed, so that it is the same in all experiments. A column that is constant becomes 0.
    ValueError unless either side of the split has a row.
    """
    pool, test = split_rows("test_size", round(test_share * len(y)), y, seed, stratify=False)
    mean, std = x[pool].mean(axis=0), x[pool].std(axis=0)
    scaled = ((x - mean) / np.where(std > 0, std, 1.0)).astype(np.float32)
    labels = y.astype(np.float32)
    return Dataset(name, scaled[pool], labels[pool], scaled[test], labels[test], num_classes=None)


def diabetes() -> Dataset:
    """442 patients, 10 measurements each, and the progression of their disease a year later (scikit-learn's copy)."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return regression("diabetes", x, y)


def uci(name: str) -> Dataset:
    """The regression of that name in the file $UCI_DATA: an .npz with arrays `<name>_X [n, d]` and `<name>_y [n]`.

    `UCI_NAMES` are the nine sets that the literature reports; any other set in the file will do. ValueError when the
    file is not there or cannot be read, when it has no such arrays, or when their shapes or numbers are wrong.
    """
    given = os.environ.get("UCI_DATA")
    shape = "an .npz file with arrays <name>_X [n, d] and <name>_y [n]"
    arrays, found = read_npz(f"dataset='uci/{name}': UCI_DATA", given, shape, (f"{name}_X", f"{name}_y").__contains__)
    names = [known.removesuffix("_X") for known in found if known.endswith("_X")]
    if name not in names:
        raise unknown("dataset", f"uci/{name}", [f"uci/{known}" for known in names])
    if f"{name}_y" not in arrays:
        raise ValueError(f"dataset='uci/{name}': {given} has {name}_X and no {name}_y; expected {shape}")
    x, y = arrays[f"{name}_X"], arrays[f"{name}_y"]
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"{name}_X is {list(x.shape)} and {name}_y {list(y.shape)}: expected [n, d] and [n]")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"{name} in {given} has NaN or infinite values: expected finite numbers")
    return regression(f"uci/{name}", x, y)
