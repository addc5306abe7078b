"""Any method on fixed vectors of the rows: those of a self-supervised encoder or of a foundation model."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from al_jax.acquisitions.combinators.parts import as_acquisition
from al_jax.data.npz import read_npz
from al_jax.types import Acquired, Acquisition, Inputs, Pool, PRNGKey, Round, ScoreFn

EXPECTED = "an .npz file with vectors of the pool's rows as its array `inputs`"


def embedded(acquisition: ScoreFn | Acquisition, vectors: str | np.ndarray) -> Acquisition:
    """`acquisition`, which sees `vectors` as the features of the rows, whatever the network's own are.

    TypiClust and ProbCover were proposed with features of a self-supervised network (Hacohen et al. 2022; Yehuda et al.
    2022). Samples and probabilities stay the network's. A labelled row that never was in the pool has the mean vector.
    Every seed keeps the vectors on the device.

    Args:
      acquisition: any method that reads features.
      vectors: one for each pool row, `[N, D]`, or an .npz file with them as `inputs`, as `data.features` reads it.

    ValueError when the file cannot be read, for what is no array of finite numbers `[N, D]`, for a pool of another size
    or on the host, and when the acquisition predicts rows that are not in the pool.
    """
    part = as_acquisition(acquisition)
    table = _table(vectors)

    def init(key: PRNGKey, pool: Pool) -> tuple[Array, Any]:
        if len(pool.available) != len(table):
            raise ValueError(f"vectors has {len(table)} rows: expected {len(pool.available)}, those of the pool")
        return jnp.asarray(table), part.init(key, pool)

    def seen(round: Round, x: Inputs | None = None, rows: Array | None = None) -> Round:
        """The round as `acquisition` sees it, within the call that is given the pool's `rows` as `x`."""
        own, memory = round.memory
        labelled, pool = round.data.labelled, round.data.pool

        def functions(asked: Inputs) -> Any:
            if asked is x:
                found = own[rows]
            elif asked is labelled.inputs:
                found = jnp.where(labelled.rows[:, None] >= 0, own[labelled.rows], own.mean(axis=0))
            elif pool is not None and asked is pool.inputs:
                found = own
            else:
                raise ValueError("the acquisition predicts rows that are not in the pool, which have no vectors")
            return round.functions(asked)._replace(features=found)

        return round._replace(memory=memory, functions=functions, head=None)

    def summarise(round: Round, x: Inputs, rows: Array) -> Any:
        return part.summarise(seen(round, x, rows), x, rows)

    def prepare(key: PRNGKey, round: Round) -> Any:
        return part.prepare(key, seen(round))

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        return part.select(key, seen(round), summary, available, batch_size)

    return Acquisition(summarise, select, prepare, init, part.shortlist)


def _table(vectors: Any) -> np.ndarray:
    """The vectors as float32 [N, D]."""
    if isinstance(vectors, str):
        wanted: Callable[[str], bool] = "inputs".__eq__
        arrays, names = read_npz("vectors", vectors, EXPECTED, wanted)
        if "inputs" not in arrays:
            raise ValueError(f"vectors={vectors} has {', '.join(names)} and no inputs: expected {EXPECTED}")
        vectors = arrays["inputs"]
    table = np.asarray(vectors)
    if table.ndim != 2 or table.dtype.kind not in "iuf" or not np.isfinite(table).all():
        raise ValueError(f"vectors={table.dtype}{list(table.shape)}: expected finite numbers [N, D]")
    return table.astype(np.float32)
