"""One batch from plain arrays: for people who have predictions of their own and no posterior of ours."""

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from al_jax.acquisitions.top_k import CONSTANT
from al_jax.pool import candidates
from al_jax.types import Acquired, Acquisition, Data, Labelled, Pool, Predictions, PRNGKey, Round


class Given:
    """Stands in for `Predictions`: reading a field that acquire() was not given raises ValueError with its name."""

    def __init__(self, arrays: dict[str, Array], prefix: str = "") -> None:
        self.arrays, self.prefix = arrays, prefix

    def __getattr__(self, name: str) -> Any:
        if name == "samples":
            return self.log_probs
        if name not in Predictions._fields:
            raise AttributeError(name)
        if name not in self.arrays:
            argument = f"{self.prefix}{name}"
            known = argument in ("features", "labelled_features", "labelled_log_probs")
            mend = f"give acquire() {argument}" if known else f"acquire() takes no {argument}, run it in a campaign"
            raise ValueError(
                f"the acquisition reads {name} of the {'labelled' if self.prefix else 'pool'} rows: {mend}"
            )
        return self.arrays[name]


def acquire(
    acquisition: Acquisition,
    log_probs: Any,
    batch_size: int,
    available: Any = None,
    features: Any = None,
    labelled_features: Any = None,
    key: PRNGKey | None = None,
    labelled_log_probs: Any = None,
    labelled_labels: Any = None,
) -> Acquired:
    """Choose `batch_size` of N rows from anyone's predictions `log_probs [N, K, C]` (NumPy, PyTorch on the CPU, JAX).

    Compiled once for each acquisition, batch size and shapes; L labelled rows are filled up to a power of two, so that
    a loop in which they grow compiles a few times. Arrays that are on the device already are not copied.

    Args:
      acquisition: `top_k(bald)`, `core_set()`, ...; the same call of a constructor makes the same acquisition.
      log_probs: log-probabilities of K posterior samples; -inf is legal. One deterministic model is `[N, 1, C]`.
      available: bool [N], rows that may be chosen; all of them by default.
      features: [N, D], for acquisitions that measure distances.
      labelled_features: [L, D], features of the rows that are labelled already; `np.zeros((0, D))` when none is.
      key: breaks ties and drives stochastic acquisitions; `jax.random.key(0)` by default.
      labelled_log_probs: [L, K, C], for acquisitions that compare predictions with those of labelled rows.
      labelled_labels: int [L], for acquisitions that look for rows of given classes.

    Returns `Acquired(indices [B], scores [B], info)`, indices into the N rows. ValueError names the argument when
    shapes disagree, log_probs hold NaN or +inf or do not normalise, fewer than `batch_size` rows are available, or the
    acquisition reads something that was not given. A warning says so when a score is the same for all rows.
    """
    log_probs = _checked("log_probs", log_probs)
    num_rows = len(log_probs)
    mask = np.ones(num_rows, bool) if available is None else np.asarray(available)
    if mask.shape != (num_rows,) or mask.dtype != bool:
        raise ValueError(
            f"available is {mask.dtype}{list(mask.shape)}: expected bool[{num_rows}], as many as log_probs"
        )
    if not isinstance(batch_size, int | np.integer) or not 1 <= batch_size <= mask.sum():
        raise ValueError(f"batch_size={batch_size}: expected 1 to {mask.sum()}, the number of available rows")
    pool, labelled = {"log_probs": log_probs}, dict[str, Array]()
    if features is not None:
        pool["features"] = _table("features", features)
        if len(pool["features"]) != num_rows:
            raise ValueError(f"features has {len(pool['features'])} rows: expected {num_rows}, as log_probs has")
    if labelled_features is not None:
        labelled["features"] = _table("labelled_features", labelled_features)
        width, expected = labelled["features"].shape[1], pool.get("features", labelled["features"]).shape[1]
        if width != expected:
            raise ValueError(f"labelled_features has width {width}: expected {expected}, as features has")
    if labelled_log_probs is not None:
        labelled["log_probs"] = _checked("labelled_log_probs", labelled_log_probs, log_probs.shape[1:])
    if labelled_labels is not None:
        labels = np.asarray(labelled_labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"labelled_labels is {labels.dtype}{list(labels.shape)}: expected integers [L]")
        labelled["labels"] = jnp.asarray(labels, jnp.int32)
    sizes = {name: len(table) for name, table in labelled.items()}
    if len(set(sizes.values())) > 1:
        (first, expected), *others = sizes.items()
        name, size = next((name, size) for name, size in others if size != expected)
        raise ValueError(f"labelled_{name} has {size} rows: expected {expected}, as labelled_{first} has")
    count = next(iter(sizes.values()), 0)
    padded = 1 << (count - 1).bit_length() if count else 0
    labelled = {
        name: jnp.pad(table, ((0, padded - count), *((0, 0),) * (table.ndim - 1))) for name, table in labelled.items()
    }
    key = jax.random.key(0) if key is None else key
    acquired = _acquire(acquisition, int(batch_size), key, pool, labelled, count, mask)
    if np.any(acquired.info.get("constant", False)):
        warnings.warn(CONSTANT, RuntimeWarning, stacklevel=2)
    return acquired


@partial(jax.jit, static_argnums=(0, 1))
def _acquire(
    acquisition: Acquisition,
    batch_size: int,
    key: PRNGKey,
    pool: dict[str, Array],
    labelled: dict[str, Array],
    count: Array,
    available: Array,
) -> Acquired:
    """The same steps as a round of the cycle, with functions that look their answers up."""

    def functions(x: Any) -> Any:
        if not isinstance(x, dict):  # an acquisition's own inputs, which here are predictions already
            return Given({"log_probs": x})
        return Given(x["labelled"], "labelled_") if "labelled" in x else Given(x)

    slots = len(next(iter(labelled.values()))) if labelled else 0
    labels: Any = labelled.get("labels")  # None where they were not given
    known = Labelled({"labelled": labelled}, labels, jnp.ones(slots), jnp.full(slots, -1), jnp.asarray(count))
    offered = Pool(pool, available)
    init_key, round_key, prepare_key, pool_key, select_key = jax.random.split(key, 5)
    round = Round(round_key, functions, Data(known, None, offered), acquisition.init(init_key, offered))
    round = round._replace(context=acquisition.prepare(prepare_key, round))
    chosen = candidates(pool_key, acquisition, round, pool, available, chunk_size=4096)
    acquired = acquisition.select(select_key, round, chosen.summary, chosen.available, batch_size)
    return acquired._replace(indices=chosen.rows[acquired.indices])


def _table(name: str, array: Any) -> Array:
    table = jnp.asarray(array, jnp.float32)
    if table.ndim != 2:
        raise ValueError(f"{name} has shape {table.shape}: expected [rows, D] with finite entries")
    finite = np.asarray(_finite_rows(table))
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise ValueError(f"{name} has shape {table.shape}, and NaN or infinity in row {row}: expected finite entries")
    return table


@jax.jit
def _finite_rows(table: Array) -> Array:
    return jnp.isfinite(table).all(axis=1)


def _checked(name: str, log_probs: Any, like: tuple[int, ...] | None = None) -> Array:
    """The table on the device; ValueError as of `check_log_probs`, and for another shape than [rows, *like]."""
    table = jnp.asarray(log_probs, jnp.float32)
    if table.ndim != 3 or (like is None and 0 in table.shape):
        raise ValueError(
            f"{name} has shape {table.shape}: expected [N, K, C], none of them 0; "
            f"one deterministic model is {name}[:, None, :]"
        )
    if like is not None and table.shape[1:] != like:
        raise ValueError(f"{name} has shape {table.shape}: expected [L, {like[0]}, {like[1]}], as log_probs has")
    check_log_probs(table, name=name)
    return table


def check_log_probs(log_probs: Array | np.ndarray, tolerance: float = 1e-3, name: str = "log_probs") -> None:
    """Raise ValueError unless every `log_probs[..., :]` is the log of a distribution: no NaN, no +inf, sums to one."""
    wrong, total = map(np.asarray, _totals(jnp.asarray(log_probs)))
    if wrong.any():
        row = np.argwhere(wrong)[0][0]
        raise ValueError(f"{name} holds NaN or +inf, first in row {row}: expected log-probabilities")
    off = np.abs(total - 1.0) > tolerance
    if off.any():
        where = tuple(int(i) for i in np.argwhere(off)[0])
        raise ValueError(
            f"{name}{list(where)} sums to {total[where]:.4g} after exp: expected 1, a log_softmax over the last axis"
        )


@jax.jit
def _totals(log_probs: Array) -> tuple[Array, Array]:
    wrong = jnp.isnan(log_probs) | jnp.isposinf(log_probs)
    return wrong.any(axis=-1), jnp.exp(log_probs).sum(axis=-1)
