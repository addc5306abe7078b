"""One run on disk: configuration, environment, checkpoints, tables. Killed at any moment, nothing finished is lost.

Of several processes only process 0 reads and writes, and tells the others: they need no common disk.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import jax
import orbax.checkpoint as ocp
import pandas as pd

from al_jax.engine import parallel
from al_jax.engine.processes import on_first

EXACT = ("platform", "device_kind", "thread_pool", "jax", "jaxlib", "deterministic")
"""What must not change for a resumed run to acquire bit for bit the same rows."""


class StoreError(RuntimeError):
    """A results folder that cannot be used as asked; nothing in it was changed."""


class Store(NamedTuple):
    """An opened results folder and the checkpoints in it."""

    directory: Path
    resumed: bool  # whether the run had begun before
    fingerprint: str  # of the configuration; every checkpoint carries it
    manager: ocp.CheckpointManager | None  # of process 0


def fingerprint(config: Mapping[str, Any]) -> str:
    """The configuration's hash, 12 hexadecimal digits: the name of its run."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def finished(directory: Path) -> bool:
    """Whether the run in this folder came to its end; `summary.json` is written last."""
    return on_first((directory / "summary.json").exists)


def claim(directory: Path, config: Mapping[str, Any], *, resume: bool = False, allow_inexact: bool = False) -> None:
    """Make the folder the results of `config`, to begin a run or, with `resume`, to continue one (changing nothing).

    StoreError, before anything is written, when the folder belongs to another configuration or is no results folder,
    when it holds an unfinished run and `resume` is False, or when this machine would not continue it bit for bit (other
    platform, versions or thread-pool size) and `allow_inexact` is False.
    """
    on_first(partial(_claim, directory, config, resume, allow_inexact))


def _claim(directory: Path, config: Mapping[str, Any], resume: bool, allow_inexact: bool) -> None:
    environment_file = directory / "environment.json"
    if (directory / "config.json").exists():
        _check_config(directory, config)
        if not resume:
            raise StoreError(f"{directory} holds an unfinished run of this configuration: continue it with --resume")
        here, last = environment(), (_read_json(environment_file) if environment_file.exists() else [{}])[-1]
        changed = [
            f"{name} was {last[name]}, is {here[name]}" for name in EXACT if last.get(name, here[name]) != here[name]
        ]
        if changed and not allow_inexact:
            what = ", ".join(changed)
            raise StoreError(
                f"{directory} cannot be continued bit for bit here ({what}): --allow-inexact does it anyway"
            )
    elif directory.exists() and any(not path.name.endswith(".partial") for path in directory.iterdir()):
        raise StoreError(f"{directory} is not empty and has no config.json: it is not a results folder of this program")
    else:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_json(directory / "config.json", config)
        except OSError as error:
            raise StoreError(f"{directory} cannot be made ({error}): expected a folder that can be written") from error
    if not environment_file.exists():
        _log_start(directory)


def log_start(directory: Path) -> None:
    """Append this machine to `environment.json`, an entry for every start of the run."""
    on_first(partial(_log_start, directory))


def _log_start(directory: Path) -> None:
    file = directory / "environment.json"
    write_json(file, [*(_read_json(file) if file.exists() else []), environment()])


def check_config(directory: Path, config: Mapping[str, Any]) -> None:
    """StoreError, naming the fields, when the folder's `config.json` is not `config`."""
    on_first(partial(_check_config, directory, config))


def _check_config(directory: Path, config: Mapping[str, Any]) -> None:
    stored, plain = _read_json(directory / "config.json"), json.loads(json.dumps(config))
    if not isinstance(stored, dict):
        raise StoreError(f"{directory / 'config.json'} is damaged: it holds no configuration")
    if stored != plain:
        names = sorted(k for k in {*stored, *plain} if stored.get(k) != plain.get(k))
        raise StoreError(f"{directory} belongs to another configuration: it differs in {', '.join(names)}")


def open_store(
    directory: Path, config: Mapping[str, Any], *, resume: bool = False, allow_inexact: bool = False
) -> Store:
    """`claim` the folder and open its checkpoints."""
    directory = Path(directory).expanduser().absolute()
    resumed = on_first((directory / "environment.json").exists)
    claim(directory, config, resume=resume, allow_inexact=allow_inexact)
    manager = None
    if jax.process_index() == 0:
        checkpoints = directory / "checkpoints"
        checkpoints.mkdir(exist_ok=True)  # orbax makes it only where all processes take part, with barriers
        alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=False, multiprocessing_options=alone)
        manager = ocp.CheckpointManager(checkpoints, options=options)
    return Store(directory, resumed, fingerprint(config), manager)


@contextmanager
def locked(store: Store | None) -> Iterator[None]:
    """Keep other processes out of the folder until the end; whatever ends this one ends the lock.

    StoreError when another process is in it. A warning where the file system knows no locks.
    """
    if store is None:
        yield
        return
    lock = filelock.FileLock(store.directory / "in_use.lock", timeout=0, is_singleton=True)

    def enter() -> None:
        try:
            lock.acquire()
        except filelock.Timeout:
            raise StoreError(f"{store.directory} is in use by another process: expected one at a time") from None
        except NotImplementedError:  # filelock's word for some network file systems: the run must not fail on them
            told = f"{store.directory} is on a file system without locks: nothing keeps a second process out of it"
            warnings.warn(told, RuntimeWarning, stacklevel=2)

    on_first(enter)
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV as a whole or not at all."""
    write_bytes(path, table.to_csv(index=False).encode())


def read_table(path: Path) -> pd.DataFrame:
    """What `write_table` wrote, with its types: a method named "007" or "nan" is that text, an empty number is NaN."""
    return pd.read_csv(path, dtype={"method": str}, keep_default_na=False, na_values=[""])


def write_json(path: Path, value: Any) -> None:
    """Write JSON as a whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def environment() -> dict[str, Any]:
    """Everything outside the configuration that a result depends on: versions, device, threads, commit."""
    device = jax.local_devices()[0]
    names = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        **{name: importlib.metadata.version(name) for name in names},
        "python": platform.python_version(),
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "thread_pool": parallel.thread_pool_size() if device.platform == "cpu" else None,
        "deterministic": device.platform == "cpu" or "--xla_gpu_deterministic_ops=true" in flags,
        "xla_flags": flags,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The checkout's commit, marked when files differ from it; None for an installed package or without git."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a neighbour, then rename: a reader or a kill sees the old file or the new one."""
    if jax.process_index() > 0:
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
