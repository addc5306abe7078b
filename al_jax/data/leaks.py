"""Rows that are in two splits, and other things to know of a data set before a campaign."""

from collections.abc import Iterator

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from al_jax.data.dataset import Dataset, HostInputs, check, take, take_pool

SIGNATURE = 64
"""Bytes of a row that are compared first."""


def copies(inputs: HostInputs, others: HostInputs) -> Bool[np.ndarray, " n"]:
    """Which rows of `inputs [n, ...]` are, to the last bit in the types of `inputs`, rows of `others [m, ...]`."""
    others = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype, copy=False), others, inputs)
    mine, theirs = _signatures(inputs), _signatures(others)
    found = np.isin(mine, theirs)
    candidates = np.flatnonzero(found)
    known = set(_contents(others, np.flatnonzero(np.isin(theirs, mine))))
    found[candidates] = [content in known for content in _contents(inputs, candidates)]
    return found


def repeats(inputs: HostInputs) -> Bool[np.ndarray, " n"]:
    """Which rows equal an earlier one, to the last bit."""
    _, first, counts = np.unique(_signatures(inputs), return_index=True, return_counts=True)
    found = np.ones(len(jax.tree.leaves(inputs)[0]), bool)
    found[first[counts == 1]] = False
    candidates, seen = np.flatnonzero(found), set[bytes]()
    for row, content in zip(candidates, _contents(inputs, candidates), strict=True):
        found[row] = content in seen
        seen.add(content)
    return found


def without_copies(dataset: Dataset) -> Dataset:
    """The data set without the pool rows that are also rows of the test or the validation split.

    ValueError when an initial row is one of them, or when none would stay.
    """
    held = [dataset.test_inputs, *([] if dataset.validation_inputs is None else [dataset.validation_inputs])]
    stay = ~np.any([copies(dataset.inputs, split) for split in held], axis=0)
    if not stay.any():
        raise ValueError(f"every row of the pool of {dataset.name} is in another split: expected some that are not")
    return take_pool(dataset, np.flatnonzero(stay))


def report(dataset: Dataset) -> pd.DataFrame:
    """What may be wrong with a data set: columns `split`, `finding`, `count` and the first of its `rows`.

    Rows that are in two splits or twice in one, classes without a row, columns of one value, and the sizes of the
    smallest and the largest class. Where nothing is wrong it has the sizes alone.
    """
    dataset = check(dataset)
    splits = {"pool": (dataset.inputs, dataset.labels), "test": (dataset.test_inputs, dataset.test_labels)}
    if dataset.validation_labels is not None:
        splits["validation"] = dataset.validation_inputs, dataset.validation_labels
    found = [finding for name in splits for finding in _findings(name, splits, dataset.num_classes)]
    return pd.DataFrame(found, columns=["split", "finding", "count", "rows"])


def _findings(
    name: str, splits: dict[str, tuple[HostInputs, Shaped[np.ndarray, " n"]]], classes: int | None
) -> Iterator[tuple[str, str, int, str]]:
    inputs, labels = splits[name]
    earlier = [other for other in splits if list(splits).index(other) < list(splits).index(name)]
    rows = {f"rows that are in the {other}, too": copies(inputs, splits[other][0]) for other in earlier}
    for finding, which in (rows | {"rows that equal an earlier one": repeats(inputs)}).items():
        if which.any():
            yield name, finding, int(which.sum()), _listed(np.flatnonzero(which))
    for path, leaf in jax.tree_util.tree_leaves_with_path(inputs):
        columns = leaf.reshape(len(leaf), -1)
        if (same := (columns == columns[:1]).all(axis=0)).any():
            yield name, f"columns{jax.tree_util.keystr(path)} of one value", int(same.sum()), ""
    if classes is not None:
        sizes = np.bincount(labels, minlength=classes)
        if (absent := np.flatnonzero(sizes == 0)).size:
            yield name, f"classes without a row: {_listed(absent)}", len(absent), ""
        for size, place in (("smallest", sizes.argmin()), ("largest", sizes.argmax())):
            yield name, f"rows of the {size} class, {place}", int(sizes[place]), ""


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _bytes_of(leaf: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(leaf).reshape(len(leaf), int(np.prod(leaf.shape[1:]))).view(np.uint8)


def _signatures(inputs: HostInputs) -> np.ndarray:
    """Some bytes of every row, as one value that can be compared, [n]."""
    parts = []
    for leaf in jax.tree.leaves(inputs):
        content = _bytes_of(leaf)
        chosen = np.sort(np.random.default_rng(0).permutation(content.shape[1])[:SIGNATURE])
        parts.append(content[:, chosen])
    joined = np.ascontiguousarray(np.concatenate(parts, axis=1))
    return joined.view(f"V{joined.shape[1]}")[:, 0]


def _contents(inputs: HostInputs, rows: np.ndarray) -> Iterator[bytes]:
    parts = [_bytes_of(leaf) for leaf in jax.tree.leaves(take(inputs, rows))]
    for row in range(len(rows)):
        yield b"".join(part[row].tobytes() for part in parts)
