"""What a campaign needs before its first round: settings that fit the data, initial rows, programs, a layout."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from al_jax.campaign.records import Settings, seeds_of
from al_jax.data import Dataset, check, initial_rows
from al_jax.data.leaks import copies
from al_jax.engine import parallel
from al_jax.engine.cycle import cycle, steps
from al_jax.engine.learning import Sizes
from al_jax.engine.parallel import Layout
from al_jax.likelihood import categorical
from al_jax.models.forward import num_rows
from al_jax.sweep import Recipe
from al_jax.types import Acquisition, Likelihood

DEFAULT_CHUNK = 128  # where the network is not known
LEAKED = 0.01
"""The share of the test rows that may be in the pool without a word: collections of images have some."""
LOOKED_AT = 200_000
"""Rows of a pool that are compared with the test set's, in less than a second."""


def validate(dataset: Dataset, settings: Settings) -> Dataset:
    """The data set, checked, with NumPy leaves.

    ValueError, naming the argument, its value and what was expected, unless `settings` fit this data set; `start_rows`
    and `programs` refuse the rest.
    """
    dataset = check(dataset)
    pool = num_rows(dataset.inputs)
    for name, low in {"seeds": 1, "seed_block": 1, "first_seed": 0}.items():
        if getattr(settings, name) < low:
            raise ValueError(f"{name}={getattr(settings, name)}: expected at least {low}")
    if settings.first_seed + settings.seeds > 2**31:
        raise ValueError(f"first_seed={settings.first_seed}, seeds={settings.seeds}: expected a sum of at most 2^31")
    if settings.chunk_size is not None and settings.chunk_size < 1:
        raise ValueError(f"chunk_size={settings.chunk_size}: expected at least 1")
    if settings.mode not in ("replicas", "pool"):
        raise ValueError(f"mode={settings.mode!r}: expected 'replicas' or 'pool'")
    if settings.pool_on not in ("device", "host"):
        raise ValueError(f"pool_on={settings.pool_on!r}: expected 'device' or 'host'")
    if not 0 <= settings.initial_labels <= pool:
        raise ValueError(f"initial_labels={settings.initial_labels}: expected 0 to {pool}, the rows of the pool")
    if not settings.initial_labels <= settings.max_labels <= pool:
        raise ValueError(
            f"max_labels={settings.max_labels}: expected {settings.initial_labels} (initial_labels) to {pool}, the "
            f"rows of the pool of {dataset.name}"
        )
    if not 1 <= settings.batch_size <= pool:  # the last batches may be short
        raise ValueError(f"batch_size={settings.batch_size}: expected 1 to {pool}, the rows of the pool")
    subset = settings.pool_subset
    if subset is not None and not settings.batch_size <= subset <= pool:
        raise ValueError(
            f"pool_subset={subset}: expected {settings.batch_size} (batch_size) to {pool}, the rows of the pool"
        )
    return dataset


def warn_of_leaks(dataset: Dataset) -> None:
    """Warn when more than `LEAKED` of the test rows are rows of the pool, which has up to `LOOKED_AT` rows."""
    if len(dataset.labels) <= LOOKED_AT:
        leaked = copies(dataset.test_inputs, dataset.inputs)
        if leaked.mean() > LEAKED:
            warnings.warn(
                f"{leaked.sum()} of the {len(leaked)} test rows of {dataset.name} are in the pool, too, so that its "
                "metrics tell what was learned by heart: see al_jax.data.report, and data.without_copies removes them",
                RuntimeWarning,
                stacklevel=5,  # the caller of `campaign.run`
            )


def start_rows(dataset: Dataset, settings: Settings, initial: np.ndarray | None = None) -> np.ndarray:
    """Initial rows int32 [S, initial_labels] of all seeds: those given, those of the data set, or drawn.

    ValueError as of `initial_rows`, and unless the given ones are distinct pool rows of that shape.
    """
    size, classes = settings.initial_labels, dataset.num_classes
    if initial is None and dataset.initial is not None:
        if len(dataset.initial) != size:
            raise ValueError(
                f"initial_labels={size}: expected {len(dataset.initial)}, the initial rows of the data set"
            )
        initial = np.tile(dataset.initial, (settings.seeds, 1))
    if initial is not None:
        given, rows = np.asarray(initial), len(dataset.labels)
        if given.shape != (settings.seeds, size) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"initial={given.dtype}{list(given.shape)}: expected integers [{settings.seeds}, {size}]")
        for of_seed in given:
            distinct, counts = np.unique(of_seed, return_counts=True)
            wrong = distinct[(distinct < 0) | (distinct >= rows) | (counts > 1)]
            if len(wrong):
                raise ValueError(f"initial has the row {wrong[0]}: expected distinct rows from 0 to {rows - 1}")
        return given.astype(np.int32)
    seeds = seeds_of(settings)
    return np.stack([initial_rows(seed, dataset.labels, size, classes, settings.balanced) for seed in seeds])


def programs(
    recipe: Recipe,
    acquisition: Acquisition,
    settings: Settings,
    likelihood: Likelihood | None = None,
    layout: Layout | None = None,
) -> Any:
    """The `Cycle` that these settings ask for, or its `Steps` with the pool on the host; ValueError as of `cycle`."""
    build: Callable[..., Any] = steps if settings.pool_on == "host" else cycle
    given = {name: getattr(settings, name) for name in Sizes._fields}
    sizes = Sizes(**given | {"chunk_size": settings.chunk_size or DEFAULT_CHUNK})
    mesh = layout.mesh if layout is not None and layout.mode == "pool" else None
    return build(recipe, acquisition, likelihood or categorical(), sizes, mesh)


def layout_of(
    settings: Settings, devices: Sequence[jax.Device] | None = None, repetitions: int | None = None
) -> Layout:
    """How these settings use `devices` of all processes, by default all there are; of a sweep, for so many rows."""
    size = settings.seeds if repetitions is None else repetitions
    devices = parallel.devices() if devices is None else devices
    if settings.mode == "pool":
        chunk_size = settings.chunk_size or DEFAULT_CHUNK
        return parallel.pool_layout(size, settings.seed_block, chunk_size, devices)
    local = [device for device in devices if device.process_index == jax.process_index()]
    return parallel.layout(size, settings.seed_block, local)
