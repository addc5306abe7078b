"""A data set on the host: the pool with the oracle's answers, and the splits that are never acquired from."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Int, PyTree, Shaped

HostInputs: TypeAlias = PyTree[Shaped[np.ndarray, "..."]]
"""Any pytree of NumPy arrays that share a leading row axis, in their raw dtype: the models cast."""

NAMED = "; np.unique(labels, return_inverse=True) numbers them, and lab.labelling(..., classes=names) takes names"
UNLABELLED = "; where nobody knows the labels yet, al_jax.lab.labelling asks a person"


class Dataset(NamedTuple):
    """A data set; `labels` are what the oracle answers for the pool `inputs`: classes, or numbers to regress on.

    See `check`.
    """

    name: str
    inputs: HostInputs  # [N, ...]
    labels: Shaped[np.ndarray, " N"]  # int32; of a regression float32
    test_inputs: HostInputs
    test_labels: Shaped[np.ndarray, " T"]
    num_classes: int | None  # None: a regression
    validation_inputs: HostInputs | None = None
    validation_labels: Shaped[np.ndarray, " V"] | None = None
    rows: Int[np.ndarray, " N"] | None = None  # of every pool row, its row in what was loaded; None: the same
    initial: Int[np.ndarray, " m"] | None = None  # pool rows that every seed begins with; None: each draws its own


def check(dataset: Dataset) -> Dataset:
    """The data set with NumPy leaves and int32 labels, float32 ones of a regression.

    ValueError when the pool or the test split is empty; inputs and labels of a split differ in length, or one of the
    two is missing; an input is no array of numbers, NaN or infinite; a label is no integer in 0..num_classes-1 (of a
    regression: NaN or infinite); or the rows of another split have not the structure and shapes of the pool's.
    """
    pool, labels = _checked("", dataset.inputs, dataset.labels, dataset.num_classes)
    dataset = dataset._replace(inputs=pool, labels=labels)
    for split in ("test_", "validation_"):
        inputs, labels = getattr(dataset, f"{split}inputs"), getattr(dataset, f"{split}labels")
        if split == "validation_" and inputs is None and labels is None:
            continue
        inputs, labels = _checked(split, inputs, labels, dataset.num_classes)
        shapes, expected = (jax.tree.map(lambda leaf: leaf.shape[1:], x) for x in (inputs, pool))
        if shapes != expected:
            raise ValueError(f"{split}inputs has rows of shape {shapes}: expected {expected}, as in inputs")
        dataset = dataset._replace(**{f"{split}inputs": inputs, f"{split}labels": labels})
    return dataset


def _checked(
    split: str, inputs: Any, labels: Any, num_classes: int | None
) -> tuple[HostInputs, Shaped[np.ndarray, " n"]]:
    """What `check` does within one split, whose name is a prefix such as `test_`."""
    if inputs is None or labels is None:
        raise ValueError(f"{split}{'inputs' if inputs is None else 'labels'}=None: expected both inputs and labels")
    if (
        isinstance(inputs, list)
        and len({np.shape(row) for row in inputs}) == 1
        and np.shape(inputs[0])[:1] != np.shape(labels)[:1]
    ):
        raise ValueError(
            f"{split}inputs is a list of {len(inputs)} arrays: expected one array of rows, np.stack(inputs)"
        )
    inputs, labels, name = jax.tree.map(np.asarray, inputs), np.asarray(labels), f"{split}labels"
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        kind = "number" if num_classes is None else "integer"
        remedy = NAMED if labels.dtype.kind in "OSU" and num_classes is not None else ""
        raise ValueError(f"{name} is {labels.dtype}{list(labels.shape)}: expected one {kind} per row{remedy}")
    if not len(labels):
        raise ValueError(f"{name} has 0 rows: expected at least 1")
    for path, leaf in jax.tree_util.tree_leaves_with_path(inputs):
        leaf_name = f"{split}inputs{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0 or leaf.dtype.kind in "OSUMm":
            raise ValueError(f"{leaf_name} is {leaf.dtype}{list(leaf.shape)}: expected an array of numbers [N, ...]")
        if len(leaf) != len(labels):
            raise ValueError(f"{leaf_name} has {len(leaf)} rows: expected {len(labels)}, as in {name}")
        _refuse(leaf_name, _not_finite(leaf), "NaN or infinite values", "finite")
    if num_classes is None:
        _refuse(name, _not_finite(labels), "NaN or infinite values", "finite")
        return inputs, labels.astype(np.float32, copy=False)
    bad = ~((labels >= 0) & (labels < num_classes) & (labels == np.floor(labels)))
    unknown = not split and bad.any() and (np.isnan(labels[bad]) | (labels[bad] == -1)).all()
    expected = f"integers in 0..{num_classes - 1}{UNLABELLED if unknown else ''}"
    _refuse(name, bad, ", ".join(map(str, labels[bad][:5])), expected)
    return inputs, labels.astype(np.int32, copy=False)


def _not_finite(leaf: np.ndarray, block_bytes: int = 2**25) -> Bool[np.ndarray, " n"]:
    """The rows with NaN or infinite values; by blocks, because `leaf` may be a file larger than memory."""
    if leaf.dtype.kind in "biu":
        return np.zeros(len(leaf), bool)
    rows = max(block_bytes // max(leaf[:1].nbytes, 1), 1)
    blocks = (leaf[start : start + rows] for start in range(0, len(leaf), rows))
    return np.concatenate([~np.isfinite(block).reshape(len(block), -1).all(axis=1) for block in blocks])


def _refuse(name: str, bad: Bool[np.ndarray, " n"], value: str, expected: str) -> None:
    """ValueError that lists the first rows where `bad`, if there is any."""
    rows = np.flatnonzero(bad)
    if len(rows):
        listed = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise ValueError(f"{name} has {value} in {len(rows)} rows ({listed}): expected {expected}")


def num_classes(dataset: Dataset) -> int:
    """The number of classes; ValueError for a regression."""
    if dataset.num_classes is None:
        raise ValueError(f"{dataset.name} is a regression: expected a data set with classes")
    return dataset.num_classes


def take(inputs: HostInputs, rows: Int[np.ndarray, " n"]) -> HostInputs:
    """The given rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], inputs)


def take_pool(dataset: Dataset, rows: Int[np.ndarray, " n"]) -> Dataset:
    """The data set with these rows of the pool alone, in this order; ValueError when an initial row is missing."""
    origin, initial = original_rows_of(dataset)[rows], dataset.initial
    if initial is not None:
        places = {int(row): place for place, row in enumerate(rows)}
        lost = [row for row in initial.tolist() if row not in places]
        if lost:
            raise ValueError(f"initial has row {lost[0]}, which would leave the pool: change the pool first")
        initial = np.array([places[row] for row in initial.tolist()], np.int32)
    return dataset._replace(
        inputs=take(dataset.inputs, rows), labels=dataset.labels[rows], rows=origin, initial=initial
    )


def original_rows_of(dataset: Dataset) -> Int[np.ndarray, " N"]:
    """For every row of the pool its row in the data set that was loaded: TFDS's are those of the original file."""
    return np.arange(len(dataset.labels)) if dataset.rows is None else dataset.rows


def changeable(dataset: Dataset) -> Int[np.ndarray, " n"]:
    """The pool rows that are not initial ones, in ascending order: what a split or a choice is made from."""
    rows = np.arange(len(dataset.labels))
    return rows if dataset.initial is None else np.delete(rows, dataset.initial)


def with_initial(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    """Every seed begins with `rows`, by their numbers in the data set that was loaded (see `original_rows_of`).

    They become the first of the pool, in this order. ValueError unless they are distinct and in the pool.
    """
    origin = original_rows_of(dataset)
    places = {int(row): place for place, row in enumerate(origin)}
    if not rows or len(set(rows)) != len(rows) or not set(rows) <= places.keys() or len(places) != len(origin):
        raise ValueError(f"rows={tuple(rows)}: expected different rows of the {len(origin)} of {dataset.name}")
    first = np.array([places[row] for row in rows])
    moved = take_pool(dataset, np.concatenate([first, np.delete(np.arange(len(origin)), first)]))
    return moved._replace(initial=np.arange(len(first), dtype=np.int32))


def subset(dataset: Dataset, size: int, seed: int = 0) -> Dataset:
    """Keep `size` random rows of the pool, the initial ones included. ValueError unless there are so many."""
    rest = changeable(dataset)
    fixed = len(dataset.labels) - len(rest)
    if not fixed < size <= len(dataset.labels):
        raise ValueError(f"size={size}: expected {fixed + 1} to {len(dataset.labels)}, the rows of {dataset.name}")
    chosen = np.random.default_rng(seed).choice(len(rest), size - fixed, replace=False)
    fixed_rows = np.delete(np.arange(len(dataset.labels)), rest)
    return take_pool(dataset, np.sort(np.concatenate([fixed_rows, rest[chosen]])))


def fewer_test_rows(dataset: Dataset, size: int, seed: int = 0) -> Dataset:
    """Keep `size` random rows of the test set: a campaign of small networks spends most of its time there.

    They are the same for all seeds and methods, so that differences between methods stay paired. The standard error of
    an accuracy p is sqrt(p (1 - p) / size). ValueError unless the test set has so many rows.
    """
    if not 1 <= size <= len(dataset.test_labels):
        raise ValueError(f"size={size}: expected 1 to {len(dataset.test_labels)}, the test rows of {dataset.name}")
    rows = np.sort(np.random.default_rng(seed).choice(len(dataset.test_labels), size, replace=False))
    name = f"{dataset.name} test={size}"
    return dataset._replace(
        name=name, test_inputs=take(dataset.test_inputs, rows), test_labels=dataset.test_labels[rows]
    )
