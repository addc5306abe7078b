"""The baselines' campaigns, stored on disk: run once for each task, configuration and version.

They lie in $AL_JAX_CACHE/lab (~/.cache/al_jax/lab when unset), a folder for each: <task>/<method>-<hash>. The hash is
of the settings, the data, the platform, the versions, and the program that runs a round, which holds all the rest: the
network, its training, the posterior, the acquisition, this package's mathematics. Any folder may be deleted.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from al_jax import acquisitions, campaign
from al_jax.campaign import store
from al_jax.data import Dataset
from al_jax.engine import parallel
from al_jax.lab import recorded
from al_jax.lab.recorded import Ready, Recorded
from al_jax.lab.show import Report
from al_jax.types import Acquisition

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
"""Of what is stored; raise it when `recorded.Snapshot` or `judge.Judged` changes."""

BASELINES: dict[str, Callable[[], Acquisition]] = {
    "random": acquisitions.random,
    "entropy": lambda: acquisitions.top_k(acquisitions.entropy),
    "bald": lambda: acquisitions.top_k(acquisitions.bald),
    "batchbald": acquisitions.batchbald,
}
"""What every comparison comes with."""


def root() -> Path:
    """Where all is stored."""
    return Path(os.environ.get("AL_JAX_CACHE") or "~/.cache/al_jax").expanduser() / "lab"


def versions() -> dict[str, str]:
    """Of what computes a campaign."""
    return {name: metadata.version(name) for name in ("al_jax", "jax", "jaxlib", "flax", "optax", "numpy")}


def configuration(ready: Ready, method: str, acquisition: Acquisition) -> dict[str, Any]:
    """All that the campaign of `method` depends on. Traces its program, and compiles nothing."""
    device = jax.local_devices()[0]
    return {
        "format": FORMAT,
        "task": ready.name,
        "method": method,
        "settings": dataclasses.asdict(ready.settings),
        "data": _data_hash(ready.dataset),
        "program": _program_hash(ready, acquisition),
        "versions": versions(),
        "platform": device.platform,
        "device": device.device_kind,
        "threads": parallel.thread_pool_size() if device.platform == "cpu" else None,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    } | ({"sweep": {name: [*map(float, found)] for name, found in ready.sweep.items()}} if ready.sweep else {})


def folder_of(config: dict[str, Any]) -> Path:
    """Where the campaign of this configuration is stored."""
    return root() / config["task"].replace(os.sep, "_") / f"{config['method']}-{store.fingerprint(config)}"


def baseline(
    ready: Ready, method: str, console: Console | None, report: Report, config: dict[str, Any] | None = None
) -> Recorded:
    """The stored campaign of a baseline; it is run, or continued where it was killed, when there is none.

    `config` is its `configuration`, where that is known already.
    """
    acquisition = BASELINES[method]()
    config = config or configuration(ready, method, acquisition)
    folder = folder_of(config)
    states = folder / "states"
    found = store.finished(folder)
    if not found:
        with alone(folder):
            if not store.finished(folder):  # another process may have run it meanwhile
                opened = store.open_store(folder, config, resume=True)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # of BatchBALD's saturation: it is what it is
                    keep = partial(recorded.write, states)
                    recorded.record(ready, acquisition, method, keep, console, report, opened)
                assert opened.manager is not None
                opened.manager.close()
                shutil.rmtree(folder / "checkpoints")
    return Recorded(campaign.load(folder), recorded.reader(states, ready), stored=found)


def _program_hash(ready: Ready, acquisition: Acquisition) -> str:
    """Of the round's program as it goes to the compiler, and of the initial rows."""
    dataset = ready.dataset
    functions = campaign.programs(ready.posterior, acquisition, dataclasses.replace(ready.settings, pool_on="device"))
    rows = campaign.start_rows(dataset, ready.settings)
    state = recorded.abstract_state(ready, functions, rows[0])
    arrays = dataset.inputs, *recorded.splits(dataset)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arrays)
    text = jax.jit(functions.propose).lower(state, *shapes).as_text()
    return hashlib.sha256(text.encode() + rows.tobytes()).hexdigest()


def _data_hash(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tuple(dataset)[1:]):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait while another process makes the same: where locks exist, and they end with their process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"Another process makes {path.name}: waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
