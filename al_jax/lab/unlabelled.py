"""Data that nobody has labelled yet, or whose labels are names."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from al_jax import campaign
from al_jax.campaign.records import Settings
from al_jax.data import Dataset

UNKNOWN = -1
"""The label of a pool row that nobody has labelled yet."""


def numbered(dataset: Dataset, names: list[str]) -> Dataset:
    """The data set with numbers for the names of classes, and `UNKNOWN` for None and NaN."""

    def numbers(split: str, labels: Any) -> Any:
        array = np.asarray(labels)
        if array.ndim != 1 or array.dtype.kind not in "OSUf":
            return labels
        missing = pd.isna(array)
        if array.dtype.kind == "f":
            return np.where(missing, UNKNOWN, array)
        places = {name: number for number, name in enumerate(names)} | {n: n for n in range(UNKNOWN, len(names))}
        values = [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]
        for row, value in enumerate(values):
            if not missing[row] and value not in places:
                raise ValueError(
                    f"{split}labels has {value!r} in row {row}: expected one of {', '.join(names)}, or None"
                )
        return np.array([UNKNOWN if gone else places[v] for v, gone in zip(values, missing, strict=True)], np.int32)

    splits = ("", "test_", "validation_")
    return dataset._replace(**{f"{s}labels": numbers(s, getattr(dataset, f"{s}labels")) for s in splits})  # type: ignore[arg-type]


def begun(dataset: Dataset, settings: Settings) -> tuple[Dataset, Settings, np.ndarray]:
    """Checked data and settings, initial rows [1, m]; unknown labels, which nothing reads, are 0 from here on."""
    unknown, initial = np.asarray(dataset.labels) == UNKNOWN, None
    if unknown.any():
        initial = np.flatnonzero(~unknown)[None]
        dataset = dataset._replace(labels=np.where(unknown, 0, dataset.labels))
        settings = dataclasses.replace(settings, initial_labels=initial.size)
    dataset = campaign.validate(dataset, settings)
    return dataset, settings, campaign.start_rows(dataset, settings, initial)
