"""What a campaign keeps of itself after every round: states and records, and how they become a campaign again."""

from typing import Any

import jax
import numpy as np

from al_jax.campaign.records import Record, Settings
from al_jax.campaign.store import Store, restore
from al_jax.data import Dataset
from al_jax.engine.compiled import Compiled
from al_jax.engine.state import State


def pack(compiled: Compiled, states: list[State], records: list[Record], settings: Settings) -> dict[str, Any]:
    """What later rounds depend on and what the tables are made of; what `init` makes again never leaves the device."""
    kept = [state._replace(memory=()) for state in states]
    if not settings.warm_start:
        kept = [state._replace(posterior=()) for state in kept]
    return {"state": compiled.join(kept), "records": jax.tree.map(_stack, *records)}


def unpack(
    results: Store, done: int, compiled: Compiled, dataset: Dataset, settings: Settings
) -> tuple[list[State], list[Record]]:
    """States and records after `done` rounds, exactly as `pack` saw them."""
    labels = np.empty((*compiled.info.rows.shape, *dataset.labels.shape[1:]), dataset.labels.dtype)
    record = Record(compiled.info, labels, np.empty(compiled.info.rows.shape, bool), np.empty(()))
    saved = restore(results, done, pack(compiled, compiled.states, [record] * done, settings))
    states = [
        state._replace(memory=fresh.memory, posterior=state.posterior if settings.warm_start else fresh.posterior)
        for state, fresh in zip(compiled.split(saved["state"]), compiled.states, strict=True)
    ]
    return states, [jax.tree.map(lambda leaf, i=i: leaf[i], saved["records"]) for i in range(done)]


def _stack(*leaves: np.ndarray) -> np.ndarray:
    return np.stack(leaves)
