"""Rows that a large model has made vectors of already."""

from pathlib import Path

from al_jax.data.dataset import Dataset
from al_jax.data.npz import read_npz

NAMES = ("inputs", "labels", "test_inputs", "test_labels")
EXPECTED = f"an .npz file with the arrays {', '.join(NAMES)}"


def features(path: str) -> Dataset:
    """Embeddings from an .npz file: `inputs [N, ...]`, `labels [N]`, `test_inputs`, `test_labels`, as of a large model.

    The cheapest realistic case: the large model runs once, and campaigns train a small head on fixed vectors. Columns
    are standardised by the pool; one that is constant becomes 0. Labels of whole numbers are classes, others numbers to
    regress on. ValueError when the file cannot be read or lacks an array.
    """
    arrays, names = read_npz("path", path, EXPECTED, NAMES.__contains__)
    if missing := [name for name in NAMES if name not in arrays]:
        raise ValueError(f"path={path} has {', '.join(names)} and no {missing[0]}: expected {EXPECTED}")
    inputs, labels, test_inputs, test_labels = (arrays[name] for name in NAMES)
    classes = int(max(labels.max(), test_labels.max())) + 1 if labels.dtype.kind in "iu" else None
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    scaled = [((x - mean) / (std + (std == 0))).astype("float32") for x in (inputs, test_inputs)]
    return Dataset(Path(path).stem, scaled[0], labels, scaled[1], test_labels, classes)
