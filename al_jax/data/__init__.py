"""Data sets by name, their variants, and initial rows: all on the host, before anything is compiled."""

from collections.abc import Callable

from al_jax.data.dataset import Dataset, check, with_validation
from al_jax.data.digits import digits
from al_jax.data.initial import initial_rows
from al_jax.data.variants import imbalanced, noisy_labels, repeated
from al_jax.errors import unknown

LOADERS: dict[str, Callable[[], Dataset]] = {"digits": digits}


def load(name: str) -> Dataset:
    """The checked data set of that name. ValueError, with close matches, when there is none; see also `check`."""
    if name not in LOADERS:
        raise unknown("dataset", name, LOADERS)
    return check(LOADERS[name]())


__all__ = [
    "LOADERS",
    "Dataset",
    "check",
    "digits",
    "imbalanced",
    "initial_rows",
    "load",
    "noisy_labels",
    "repeated",
    "with_validation",
]
