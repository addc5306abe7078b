"""The data set of an experiment: what is configured, what is built from it, and where its pool rows come from."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from al_jax import data
from al_jax.data import Dataset
from al_jax.data.dataset import take
from al_jax.data.tfds import IN_HASHED_ORDER


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data set, and the variants of its pool; test and validation rows are never changed."""

    dataset: str = "digits"
    """digits, two_moons, mnist, fashion_mnist, cifar10, cifar100, svhn_cropped, emnist/balanced, cmaterdb/bangla, ...;
    of regressions diabetes, or those in the file $UCI_DATA: uci/concrete, ..."""
    initial_rows: tuple[int, ...] = ()
    """Rows of the original training file that every seed begins with, instead of initial rows of its own."""
    validation_size: int = 0
    """Rows moved from the pool to a validation set, for early stopping."""
    pool_size: int | None = None
    """Keep only this many random rows of the pool, the initial ones included; None keeps them all."""
    repeated: int = 1
    """Copies of every pool row in total; above 1 each gets Gaussian noise."""
    repeated_noise: float = 1.6
    """Standard deviation of that noise in raw input units (a tenth of the digits' range)."""
    rare_classes: tuple[int, ...] = ()
    """Classes of which only a share of the pool's rows is kept."""
    rare_share: float = 0.1
    """That share."""
    label_noise: float = 0.0
    """Probability that the oracle answers with another class."""
    data_seed: int = 0
    """Seed of the validation split and of the variants; the same for all campaign seeds."""


@contextlib.contextmanager
def named(**options: str) -> Iterator[None]:
    """Errors that begin with the name of an argument begin with the name of the option instead."""
    try:
        yield
    except ValueError as error:
        argument, separator, rest = str(error).partition("=")
        raise ValueError(options.get(argument, argument) + separator + rest) from error


def expect(holds: bool, name: str, value: object, expected: str) -> None:
    """ValueError that names the option and its value unless `holds`."""
    if not holds:
        raise ValueError(f"{name}={value!r}: expected {expected}")


@functools.lru_cache(maxsize=2)
def build_dataset(config: DataConfig) -> Dataset:
    """Load the data set, split validation rows off, then change the pool: nothing of other splits can leak into it.

    The rows in `initial_rows` are the first of the pool, in that order.
    """
    return _varied(data.load(config.dataset), config)


def original_pool(config: DataConfig) -> Int[np.ndarray, " N"]:
    """For every pool row of `build_dataset` its row in the original training file (for sets of unknown order: TFDS's).

    The same splits and variants, applied to row numbers in the place of images.
    """
    dataset = data.load(config.dataset)
    numbered = dataset._replace(inputs=_original_rows(config.dataset, len(dataset.labels)))
    return np.asarray(_varied(numbered, dataclasses.replace(config, repeated_noise=0.0)).inputs).astype(int)


def _original_rows(name: str, size: int) -> Int[np.ndarray, " size"]:
    return data.original_rows(name, "train", size) if name in IN_HASHED_ORDER else np.arange(size)


def _varied(dataset: Dataset, config: DataConfig) -> Dataset:
    first = None
    if config.initial_rows:
        first, dataset = _set_aside(dataset, config)
    if config.validation_size:
        with named(size="validation_size"):
            dataset = data.with_validation(dataset, config.validation_size, config.data_seed)
    if config.pool_size is not None:
        rest, fixed = len(dataset.labels), len(config.initial_rows)
        expect(
            fixed < config.pool_size <= rest + fixed, "pool_size", config.pool_size, f"{fixed + 1} to {rest + fixed}"
        )
        chosen = np.random.default_rng(config.data_seed).choice(rest, config.pool_size - fixed, replace=False)
        dataset = _rows(dataset, np.sort(chosen))
    if first is not None:
        inputs, labels = first
        dataset = dataset._replace(
            inputs=np.concatenate([inputs, dataset.inputs]), labels=np.concatenate([labels, dataset.labels])
        )
    if config.rare_classes:
        with named(share="rare_share", classes="rare_classes"):
            dataset = data.imbalanced(dataset, config.rare_share, config.rare_classes, config.data_seed)
    if config.label_noise:
        with named(rate="label_noise"):
            dataset = data.noisy_labels(dataset, config.label_noise, config.data_seed)
    if config.repeated != 1:
        with named(copies="repeated", noise="repeated_noise"):
            dataset = data.repeated(dataset, config.repeated, config.repeated_noise, config.data_seed)
    return dataset


def _set_aside(dataset: Dataset, config: DataConfig) -> tuple[tuple[np.ndarray, np.ndarray], Dataset]:
    """Inputs and labels of the initial rows, and the data set without them."""
    size, rows = len(dataset.labels), config.initial_rows
    expect(not config.rare_classes, "rare_classes", config.rare_classes, "none of them together with initial_rows")
    known = len(set(rows)) == len(rows) and set(rows) <= set(range(size))
    expect(known, "initial_rows", rows, f"different rows of the {size} in the training file of {config.dataset}")
    places = data.tfds_rows(_original_rows(config.dataset, size))[list(rows)]
    return (dataset.inputs[places], dataset.labels[places]), _rows(dataset, np.delete(np.arange(size), places))


def _rows(dataset: Dataset, rows: np.ndarray) -> Dataset:
    return dataset._replace(inputs=take(dataset.inputs, rows), labels=dataset.labels[rows])
