"""What a campaign keeps of itself after every round: states and records, and how they become a campaign again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from al_jax.campaign.records import Record, Settings, without_twins
from al_jax.campaign.store import Store, StoreError
from al_jax.data import Dataset
from al_jax.engine.compiled import Compiled
from al_jax.engine.processes import on_first
from al_jax.engine.state import State

ADVICE = "delete that folder to continue from the round before, or the whole run to start afresh"


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
    record = Record(without_twins(compiled.info)[0], labels, np.empty(compiled.info.rows.shape, bool), np.empty(()))
    saved = restore(results, done, pack(compiled, compiled.states, [record] * done, settings))
    states = [
        state._replace(memory=fresh.memory, posterior=state.posterior if settings.warm_start else fresh.posterior)
        for state, fresh in zip(compiled.split(saved["state"]), compiled.states, strict=True)
    ]
    return states, [jax.tree.map(lambda leaf, i=i: leaf[i], saved["records"]) for i in range(done)]


def _stack(*leaves: np.ndarray) -> np.ndarray:
    return np.stack(leaves)


def last_round(store: Store) -> int | None:
    """The number of finished rounds in the newest checkpoint, or None."""
    return on_first(lambda: _manager(store).latest_step())


def save(store: Store, num_rounds: int, tree: Any, identity: Mapping[str, Any] | None = None) -> None:
    """Checkpoint `tree` (arrays on the host) as the state after `num_rounds` rounds; atomic, in the background."""
    if store.manager is None:
        return
    meta = {"fingerprint": store.fingerprint, "identity": identity, "checksum": _checksum(tree, identity)}
    items = ocp.args.Composite(tree=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
    store.manager.save(num_rounds, args=items)


def check(store: Store, num_rounds: int, identity: Mapping[str, Any]) -> None:
    """StoreError, naming what differs, unless the checkpoint is one of a campaign of this `identity`.

    Reads nothing but what it says of itself: to be called before anything is compiled.
    """
    on_first(lambda: _check(store, num_rounds, identity))


def _check(store: Store, num_rounds: int, identity: Mapping[str, Any]) -> None:
    meta = _read(store, num_rounds, meta=ocp.args.JsonRestore()).meta
    if meta.get("fingerprint") != store.fingerprint:
        raise StoreError(f"the checkpoint {_where(store, num_rounds)} belongs to another configuration: {ADVICE}")
    before = meta.get("identity") or {}
    if differs := sorted(name for name, value in before.items() if identity.get(name) != value):
        told = ", ".join(f"{name} was {before[name]}, is {identity.get(name)}" for name in differs)
        raise StoreError(f"{store.directory} holds another campaign ({told}): expected what it was begun with")


def restore(store: Store, num_rounds: int, like: Any) -> Any:
    """The checkpoint after `num_rounds` rounds, with the structure, shapes and types of `like`.

    StoreError when it is damaged or comes from another configuration.
    """
    leaves = on_first(lambda: jax.tree.leaves(_restore(store, num_rounds, like)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _restore(store: Store, num_rounds: int, like: Any) -> Any:
    where = _where(store, num_rounds)
    restored = _read(store, num_rounds, tree=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (restored.tree, like)]
    if shapes[0] != shapes[1]:
        raise StoreError(f"the checkpoint {where} has other shapes or types than this campaign: {ADVICE}")
    if restored.meta.get("fingerprint") != store.fingerprint:
        raise StoreError(f"the checkpoint {where} belongs to another configuration: {ADVICE}")
    identity = [restored.meta[name] for name in restored.meta if name == "identity"]  # older checkpoints have none
    if restored.meta.get("checksum") != _checksum(restored.tree, *identity):
        raise StoreError(f"the checkpoint {where} is damaged, its checksum is wrong: {ADVICE}")
    return restored.tree


def _where(store: Store, num_rounds: int) -> str:
    return f"{store.directory / 'checkpoints' / str(num_rounds)}"


def _read(store: Store, num_rounds: int, **items: Any) -> Any:
    try:
        return _manager(store).restore(num_rounds, args=ocp.args.Composite(**items))
    except Exception as error:  # whatever a damaged file makes the libraries below raise
        where = _where(store, num_rounds)
        raise StoreError(f"the checkpoint {where} cannot be read ({type(error).__name__}): {ADVICE}") from error


def wait(store: Store) -> None:
    """Return when everything that was saved is on the disk."""
    if store.manager is not None:
        store.manager.wait_until_finished()


def _manager(store: Store) -> ocp.CheckpointManager:
    assert store.manager is not None
    return store.manager


def _checksum(tree: Any, *identity: Any) -> str:
    """Of a checkpoint that has an identity, or of one written before there were any."""
    digest = hashlib.sha256(b"".join(json.dumps(told).encode() for told in identity))
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
