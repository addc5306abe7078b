"""Splits that keep the classes' proportions, and no copy of a row on either side."""

import numpy as np
from jaxtyping import Int, Shaped
from sklearn.model_selection import train_test_split

from al_jax.data.dataset import Dataset, changeable, take, take_pool
from al_jax.data.leaks import copies


def split_rows(
    argument: str, size: int, labels: Shaped[np.ndarray, " N"], seed: int, *, stratify: bool = True
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " size"]]:
    """The rows that stay and the `size` rows that leave, both in ascending order and with the classes' proportions.

    Not `stratify`: at random. ValueError, naming `argument`, unless either side has room for every class (a row), or
    when a class has one row only.
    """
    if not stratify:
        if not 1 <= size < len(labels):
            raise ValueError(f"{argument}={size}: expected 1..{len(labels) - 1}, fewer than there are rows")
        order = np.random.default_rng(seed).permutation(len(labels))
        return np.sort(order[size:]), np.sort(order[:size])
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes) <= size <= len(labels) - len(classes):
        room = f"{len(classes)}..{len(labels) - len(classes)}"
        raise ValueError(f"{argument}={size}: expected {room}, room for {len(classes)} classes on either side")
    if counts.min() < 2:
        raise ValueError(f"labels has one row only of class {classes[counts.argmin()]}: expected 2 to split by class")
    kept, moved = train_test_split(np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed)
    return np.sort(kept), np.sort(moved)


def with_validation(dataset: Dataset, size: int, seed: int = 0) -> Dataset:
    """Move `size` rows, stratified by class where there are classes, out of the pool to the validation split.

    Initial rows stay; other rows of the pool that equal a validation row leave it, too. ValueError when there is a
    validation split already, when `size` leaves no room for every class (see `split_rows`), or after `repeated`, whose
    copies of the validation rows would stay in the pool.
    """
    if dataset.validation_labels is not None:
        raise ValueError(f"validation_labels has {len(dataset.validation_labels)} rows already: expected None")
    if dataset.rows is not None and len(np.unique(dataset.rows)) < len(dataset.rows):
        raise ValueError(f"{dataset.name} has copies of rows: take validation rows first, so that no copy stays behind")
    rest = changeable(dataset)
    kept, moved = split_rows("size", size, dataset.labels[rest], seed, stratify=dataset.num_classes is not None)
    fixed, validation = np.delete(np.arange(len(dataset.labels)), rest), take(dataset.inputs, rest[moved])
    kept = kept[~copies(take(dataset.inputs, rest[kept]), validation)]
    return take_pool(dataset, np.sort(np.concatenate([fixed, rest[kept]])))._replace(
        validation_inputs=validation, validation_labels=dataset.labels[rest[moved]]
    )
