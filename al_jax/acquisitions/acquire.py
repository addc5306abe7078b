"""One batch from plain arrays: for people who have predictions of their own and no posterior of ours."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

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
    labelled_log_probs: Any = None,
    key: PRNGKey | None = None,
) -> Acquired:
    """Choose `batch_size` of N rows from anyone's predictions `log_probs [N, K, C]` (NumPy, PyTorch on the CPU, JAX).

    Args:
      acquisition: `top_k(bald)`, `core_set()`, ...; build it once, since each is compiled anew.
      log_probs: log-probabilities of K posterior samples; -inf is legal. One deterministic model is `[N, 1, C]`.
      available: bool [N], rows that may be chosen; all of them by default.
      features: [N, D], for acquisitions that measure distances.
      labelled_features: [L, D], features of the rows that are labelled already; `np.zeros((0, D))` when none is.
      labelled_log_probs: [L, K, C], predictions for the rows that are labelled already, as `log_probs`.
      key: breaks ties and drives stochastic acquisitions; `jax.random.key(0)` by default.

    Returns `Acquired(indices [B], scores [B], info)`, indices into the N rows. ValueError names the argument when
    shapes disagree, log_probs hold NaN or +inf or do not normalise, fewer than `batch_size` rows are available, or the
    acquisition reads something that was not given.
    """
    log_probs = np.asarray(log_probs, np.float32)
    if log_probs.ndim != 3 or 0 in log_probs.shape:
        raise ValueError(
            f"log_probs has shape {log_probs.shape}: expected [N, K, C], none of them 0; "
            "one deterministic model is log_probs[:, None, :]"
        )
    num_rows = len(log_probs)
    check_log_probs(log_probs)
    mask = np.ones(num_rows, bool) if available is None else np.asarray(available)
    if mask.shape != (num_rows,) or mask.dtype != bool:
        raise ValueError(
            f"available is {mask.dtype}{list(mask.shape)}: expected bool[{num_rows}], as many as log_probs"
        )
    if not isinstance(batch_size, int | np.integer) or not 1 <= batch_size <= mask.sum():
        raise ValueError(f"batch_size={batch_size}: expected 1 to {mask.sum()}, the number of available rows")
    pool = {"log_probs": log_probs}
    labelled: dict[str, np.ndarray] = {}
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
        labelled["log_probs"] = np.asarray(labelled_log_probs, np.float32)
        shape, length = labelled["log_probs"].shape, len(labelled.get("features", labelled["log_probs"]))
        if len(shape) != 3 or shape[0] != length or shape[2] != log_probs.shape[2]:
            told = "L" if "features" not in labelled else length
            raise ValueError(f"labelled_log_probs has shape {shape}: expected [{told}, K, {log_probs.shape[2]}]")
        check_log_probs(labelled["log_probs"], "labelled_log_probs")
    return _acquire(acquisition, int(batch_size), jax.random.key(0) if key is None else key, pool, labelled, mask)


@partial(jax.jit, static_argnums=(0, 1))
def _acquire(
    acquisition: Acquisition,
    batch_size: int,
    key: PRNGKey,
    pool: dict[str, Array],
    labelled: dict[str, Array],
    available: Array,
) -> Acquired:
    """The same steps as a round of the cycle, with functions that look their answers up."""

    def functions(x: Any) -> Any:
        if not isinstance(x, dict):  # an acquisition's own inputs, which here are predictions already
            return Given({"log_probs": x})
        return Given(x["labelled"], "labelled_") if "labelled" in x else Given(x)

    count = len(next(iter(labelled.values()))) if labelled else 0
    rows = jnp.full(count, -1)
    known = Labelled({"labelled": labelled}, jnp.zeros(count, jnp.int32), jnp.ones(count), rows, jnp.asarray(count))
    offered = Pool(pool, available)
    init_key, round_key, prepare_key, pool_key, select_key = jax.random.split(key, 5)
    round = Round(round_key, functions, Data(known, None, offered), acquisition.init(init_key, offered))
    round = round._replace(context=acquisition.prepare(prepare_key, round))
    chosen = candidates(pool_key, acquisition, round, pool, available, chunk_size=4096)
    acquired = acquisition.select(select_key, round, chosen.summary, chosen.available, batch_size)
    return acquired._replace(indices=chosen.rows[acquired.indices])


def _table(name: str, array: Any) -> np.ndarray:
    table = np.asarray(array, np.float32)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"{name} has shape {table.shape}: expected [rows, D] with finite entries")
    return table


def check_log_probs(log_probs: np.ndarray, name: str = "log_probs", tolerance: float = 1e-3) -> None:
    """Raise ValueError unless every `log_probs[..., :]` is the log of a distribution: no NaN, no +inf, sums to one."""
    wrong = np.isnan(log_probs) | (log_probs == np.inf)
    if wrong.any():
        row = np.argwhere(wrong)[0][0]
        raise ValueError(f"{name} holds NaN or +inf, first in row {row}: expected log-probabilities")
    total = np.exp(log_probs.astype(np.float64)).sum(-1)
    off = np.abs(total - 1.0) > tolerance
    if off.any():
        where = tuple(int(i) for i in np.argwhere(off)[0])
        raise ValueError(
            f"{name}{list(where)} sums to {total[where]:.4g} after exp: expected 1, a log_softmax over the last axis"
        )
