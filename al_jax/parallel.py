"""Devices: seeds in blocks of one fixed width, by vmap on a device and by pmap over devices."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Layout(NamedTuple):
    """How S seeds lie on devices: groups of [devices, width, ...], the last group padded.

    A vmap of another width differs in the last bits, so `width` must not depend on the number of devices: every device
    runs whole blocks, one after the other.
    """

    num_seeds: int
    width: int
    devices: tuple[jax.Device, ...]

    @property
    def num_groups(self) -> int:
        """Groups that are run one after the other."""
        return -(-self.num_seeds // (self.width * len(self.devices)))


def layout(num_seeds: int, width: int, devices: Sequence[jax.Device] | None = None) -> Layout:
    """Lay `num_seeds` out in blocks of `width` over the local devices, using no more devices than there are blocks."""
    width = min(width, num_seeds)
    available = jax.local_devices() if devices is None else devices
    return Layout(num_seeds, width, tuple(available[: -(-num_seeds // width)]))


def split(tree: Any, layout: Layout) -> list[Any]:
    """`[S, ...] -> groups of [devices, width, ...]`, on their devices; padding repeats seeds, for `join` to drop."""
    devices = len(layout.devices)
    size = devices * layout.width
    seeds = (np.arange(layout.num_groups * size) % layout.num_seeds).reshape(-1, devices, layout.width)
    sharding = NamedSharding(_mesh(layout), PartitionSpec("replicas"))
    return [jax.device_put(jax.tree.map(lambda leaf, g=group: leaf[g], tree), sharding) for group in seeds]


def join(groups: list[Any], layout: Layout) -> Any:
    """`groups of [devices, width, ...] -> [S, ...]` on the host, without the padding."""

    def concatenate(*leaves: Any) -> np.ndarray:
        return np.concatenate([leaf.reshape(-1, *leaf.shape[2:]) for leaf in leaves])[: layout.num_seeds]

    return jax.tree.map(concatenate, *jax.device_get(groups))


def replicate(tree: Any, layout: Layout) -> Any:
    """Put a copy of `tree` on every device, once: pmap would otherwise copy it at every call."""
    return jax.device_put(tree, NamedSharding(_mesh(layout), PartitionSpec()))


def compile_replicas(function: Callable, layout: Layout, mapped: Sequence[bool], *args: Any) -> Any:
    """Compile `pmap(vmap(function))` for these arguments; `mapped` says which of them have a seed axis.

    The result is one executable: called with other shapes it raises instead of compiling again.
    """
    axes = tuple(0 if m else None for m in mapped)
    per_device = jax.vmap(function, in_axes=axes)
    return jax.pmap(per_device, in_axes=axes, axis_name="replicas", devices=layout.devices).lower(*args).compile()


def _mesh(layout: Layout) -> Mesh:
    return Mesh(np.asarray(layout.devices), ("replicas",))


def one_by_one_on_cpu(function: Callable) -> Callable:
    """`function` of arrays alone, which a vmap on CPU runs for one seed after the other, elsewhere for all at once.

    XLA's CPU backend gives a matrix product with a seed axis to slow loops and one without to a fast library: scoring
    digits for 8 seeds took 2.4 times as long under vmap.
    """

    def on_this_backend(*args: Any) -> Any:
        return (jax.custom_batching.sequential_vmap(function) if jax.default_backend() == "cpu" else function)(*args)

    return on_this_backend


def thread_pool_size() -> int:
    """Threads XLA's CPU backend may split a long sum over; results are bitwise the same only for the same number."""
    return int(os.environ.get("NPROC") or max(os.cpu_count() or 1, jax.local_device_count()))


def enable_compilation_cache(directory: str | Path | None = None) -> None:
    """Keep compiled programs on disk, by default in `$JAX_COMPILATION_CACHE_DIR` or `~/.cache/al_jax/compiled`."""
    configured = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    chosen = directory or configured or Path.home() / ".cache" / "al_jax" / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
