"""What an oracle is asked, and what it may answer."""

from typing import Any

import numpy as np

from al_jax.campaign.records import Record, Settings, finite
from al_jax.data import Dataset
from al_jax.types import RoundInfo

UNKNOWN = "and answered=False for a row whose label is not known"


def wanted(info: RoundInfo, records: list[Record], settings: Settings) -> np.ndarray:
    """bool [S, B]: the proposed rows that are worth asking about, of seeds that go on."""
    going = info.fit["finite"] & (finite(records) if records else True) & (info.num_labelled < settings.max_labels)
    return np.asarray(info.valid & going[:, None])


def checked(
    answers: Any, wanted: np.ndarray, info: RoundInfo, number: int, dataset: Dataset, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels `[S, B]` of the proposed rows, which of them go to the labelled buffer, and which leave the pool.

    RuntimeError when none was answered or excluded in round `number`. ValueError, naming row, value and remedy, for
    labels that are no classes of the data set (of a regression: not finite), which are never rounded, and for other
    shapes and types.
    """
    if not isinstance(answers, tuple | list) or len(answers) not in (2, 3):
        raise ValueError(
            f"the oracle returned {type(answers).__name__}: expected (labels, answered) or (labels, answered, excluded)"
        )
    labels = _array("labels", answers[0], wanted.shape)
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"labels is {labels.dtype}: expected numbers of classes, {UNKNOWN}")
    answered = wanted & _mask("answered", answers[1], wanted.shape)
    excluded = wanted & (_mask("excluded", answers[2], wanted.shape) if len(answers) == 3 else False)
    if (both := answered & excluded).any():
        raise ValueError(f"row {np.asarray(info.rows)[both][0]} is answered and excluded: expected one of the two")
    if not (answered | excluded).any():
        raise RuntimeError(
            f"the oracle answered none of the rows proposed in round {number}: they would come back; return "
            "(labels, answered, excluded) to take rows out of the pool that nobody can label"
        )
    rows, room = np.asarray(info.rows), settings.max_labels - np.asarray(info.num_labelled)
    classes = dataset.num_classes
    with np.errstate(invalid="ignore"):
        within = (labels >= 0) & (labels < (classes or 0)) & (labels == np.floor(labels))
    wrong = answered & ~(np.isfinite(labels) if classes is None else within)
    if wrong.any():
        expected = "a finite number" if classes is None else f"an integer from 0 to {classes - 1}"
        raise ValueError(f"label of row {rows[wrong][0]} is {labels[wrong][0]}: expected {expected}, {UNKNOWN}")
    labels = np.where(answered, labels, 0).astype(dataset.labels.dtype)
    return labels, answered & (np.cumsum(answered, axis=1) <= room[:, None]), excluded


def _mask(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`value` as bool [S, B]; ValueError otherwise."""
    array = _array(name, value, shape)
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} is {array.dtype}: expected bool, whether each row was {name}")
    return array.astype(bool)


def _array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`value` as an array of this shape, [S, B]; ValueError otherwise."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array, whose mask would be lost: expected an array, {UNKNOWN}")
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} is no array of one shape: expected {list(shape)}, one for each row asked") from error
    if array.shape != shape:
        hint = "; of one-hot answers take the argmax" if array.shape[:-1] == shape else ""
        raise ValueError(f"{name} has shape {list(array.shape)}: expected {list(shape)}, one for each row asked{hint}")
    return array
