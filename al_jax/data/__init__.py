"""Data sets by name, their variants, and initial rows: all on the host, before anything is compiled."""

import functools
from collections.abc import Callable

from al_jax.data.dataset import Dataset, check, fewer_test_rows, original_rows_of, subset, with_initial
from al_jax.data.digits import digits
from al_jax.data.features import features
from al_jax.data.initial import initial_rows
from al_jax.data.leaks import report, without_copies
from al_jax.data.self_supervised import self_supervised
from al_jax.data.splits import with_validation
from al_jax.data.tabular import UCI_NAMES, diabetes, regression, uci
from al_jax.data.tfds import (
    TFDS_NAMES,
    cifar10,
    cifar100,
    fashion_mnist,
    mnist,
    original_rows,
    svhn_cropped,
    tfds,
    tfds_rows,
)
from al_jax.data.two_moons import two_moons
from al_jax.data.variants import imbalanced, noisy_labels, repeated
from al_jax.errors import unknown

LOADERS: dict[str, Callable[[], Dataset]] = {"digits": digits, "two_moons": two_moons, "diabetes": diabetes}
LOADERS |= {name: functools.partial(tfds, name) for name in TFDS_NAMES}
LOADERS |= {f"uci/{name}": functools.partial(uci, name) for name in UCI_NAMES}


def load(name: str) -> Dataset:
    """The checked data set of that name: digits, two_moons, diabetes, one of `TFDS_NAMES`, or uci/<name>.

    ValueError, with close matches, when there is none; see also `tfds`, `uci` and `check`.
    """
    if name not in LOADERS and not name.startswith("uci/"):
        raise unknown("dataset", name, LOADERS)
    return check(LOADERS[name]() if name in LOADERS else uci(name.removeprefix("uci/")))


__all__ = [
    "LOADERS",
    "TFDS_NAMES",
    "UCI_NAMES",
    "Dataset",
    "check",
    "cifar10",
    "cifar100",
    "diabetes",
    "digits",
    "fashion_mnist",
    "features",
    "fewer_test_rows",
    "imbalanced",
    "initial_rows",
    "load",
    "mnist",
    "noisy_labels",
    "original_rows",
    "original_rows_of",
    "regression",
    "repeated",
    "report",
    "self_supervised",
    "subset",
    "svhn_cropped",
    "tfds",
    "tfds_rows",
    "two_moons",
    "uci",
    "with_initial",
    "with_validation",
    "without_copies",
]
