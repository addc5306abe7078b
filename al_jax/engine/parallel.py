"""Devices, of other processes too: seeds in blocks of one fixed width (vmap) spread over them, or a sharded pool.

Mode `replicas`: every device runs blocks of its own, with a copy of the pool; a process holds the blocks of its own
devices (pmap), and what is read on the host is gathered from all processes. Mode `pool`: every device runs every block
but scores only its own rows of the pool (a mesh over the devices of all processes, see `pool.stream`).
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from al_jax.mesh import chunking


class Layout(NamedTuple):
    """How S seeds lie on devices: groups of [processes, devices, width, ...], the last group padded.

    A vmap of another width differs in the last bits, so `width` must not depend on the number of devices: every device
    runs whole blocks, one after the other. In mode `pool` a group is one block, [1, 1, width, ...], on all devices.
    """

    num_seeds: int
    width: int
    devices: tuple[jax.Device, ...]  # of this process; in mode `pool` of all processes
    processes: int = 1
    process: int = 0
    mode: Literal["replicas", "pool"] = "replicas"
    chunk_size: int = 1  # rows scored at a time, in mode `pool`

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of a group: (processes, devices)."""
        return (self.processes, len(self.devices)) if self.mode == "replicas" else (1, 1)

    @property
    def num_groups(self) -> int:
        """Groups that are run one after the other."""
        processes, devices = self.blocks
        return -(-self.num_seeds // (self.width * processes * devices))

    @property
    def mesh(self) -> Mesh:
        """The devices, along one axis named after the mode."""
        return Mesh(np.asarray(self.devices), (self.mode,))


def devices(count: int | None = None, available: Sequence[jax.Device] | None = None) -> tuple[jax.Device, ...]:
    """The first `count` devices of every process (all by default), process after process.

    ValueError unless every process has that many, and all equally many.
    """
    found: dict[int, list[jax.Device]] = {}
    for device in jax.devices() if available is None else available:
        found.setdefault(device.process_index, []).append(device)
    sizes = {process: len(of_process) for process, of_process in sorted(found.items())}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"local devices={list(sizes.values())}: expected equally many in every process")
    if count is not None and not 1 <= count <= sizes[0]:
        raise ValueError(f"devices={count}: expected 1 to {sizes[0]}, the {found[0][0].platform} devices of a process")
    return tuple(device for process in sizes for device in found[process][:count])


def layout(
    num_seeds: int,
    width: int,
    devices: Sequence[jax.Device] | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> Layout:
    """Lay `num_seeds` out in blocks of `width` over `devices` of this process, and as many of every other process.

    No more devices are used than there are blocks; each process has at least one, with repeated seeds if need be.
    """
    processes = jax.process_count() if processes is None else processes
    process = jax.process_index() if process is None else process
    width = min(width, num_seeds)
    available = jax.local_devices() if devices is None else devices
    used = -(-num_seeds // (width * processes))
    return Layout(num_seeds, width, tuple(available[:used]), processes, process)


def pool_layout(num_seeds: int, width: int, chunk_size: int, devices: Sequence[jax.Device]) -> Layout:
    """Run blocks of `width` seeds one after the other, each on all `devices` with a part of the pool on every one."""
    return Layout(num_seeds, min(width, num_seeds), tuple(devices), mode="pool", chunk_size=chunk_size)


def split(tree: Any, layout: Layout) -> list[Any]:
    """`[S, ...] -> groups of this process's [devices, width, ...]`; padding repeats seeds, for `join` to drop."""
    processes, devices = layout.blocks
    size = layout.num_groups * processes * devices * layout.width
    seeds = (np.arange(size) % layout.num_seeds).reshape(-1, processes, devices, layout.width)
    mine = seeds[:, layout.process if processes > 1 else 0]
    return [put(jax.tree.map(lambda leaf, g=group: leaf[g], tree), layout, _of_seeds(layout)) for group in mine]


def join(groups: list[Any], layout: Layout) -> Any:
    """`groups of this process's [devices, width, ...] -> [S, ...]` on every host, without the padding."""
    local = jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(groups))
    return merge(_gather(local) if layout.blocks[0] > 1 else [local], layout)


def merge(parts: Sequence[Any], layout: Layout) -> Any:
    """What each process holds, `[groups, devices, width, ...] -> [S, ...]`, without the padding."""

    def concatenate(*leaves: np.ndarray) -> np.ndarray:
        return np.stack(leaves, axis=1).reshape(-1, *leaves[0].shape[3:])[: layout.num_seeds]

    return jax.tree.map(concatenate, *parts)


def replicate(tree: Any, layout: Layout) -> Any:
    """Put a copy of `tree` on every device, once: pmap would otherwise copy it at every call."""
    return put(tree, layout, PartitionSpec())


def place_rows(tree: Any, layout: Layout) -> Any:
    """Put rows `[N, ...]` where they are streamed: in mode `pool` every device gets whole chunks of its own.

    These are filled up by repeating rows, as in `pool.stream`: `[chunks * size, ...]`.
    """
    if layout.mode == "replicas":
        return replicate(tree, layout)
    filled = np.arange(_filled_up(tree, layout)) % _num_rows(tree)
    return put(jax.tree.map(lambda leaf: np.asarray(leaf)[filled], tree), layout, PartitionSpec("pool"))


def row_shapes(tree: Any, layout: Layout) -> Any:
    """Shapes and types of what `place_rows` puts, and where."""
    if layout.mode == "replicas":
        return shapes(tree, layout)
    size, sharding = _filled_up(tree, layout), NamedSharding(layout.mesh, PartitionSpec("pool"))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype, sharding=sharding), tree)


def shapes(tree: Any, layout: Layout, *, of_seeds: bool = False) -> Any:
    """Shapes and types of what `replicate` puts, or of a group of `split`, and where."""
    sharding = NamedSharding(layout.mesh, _of_seeds(layout) if of_seeds else PartitionSpec())
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def _of_seeds(layout: Layout) -> PartitionSpec:
    return PartitionSpec("replicas") if layout.mode == "replicas" else PartitionSpec()


def _num_rows(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _filled_up(tree: Any, layout: Layout) -> int:
    return math.prod(chunking(_num_rows(tree), layout.chunk_size, len(layout.devices)))


def put(tree: Any, layout: Layout, spec: PartitionSpec) -> Any:
    """Equal host trees of all processes as one array on the layout's mesh; keys may be typed."""
    sharding = NamedSharding(layout.mesh, spec)
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, tree)


def _gather(tree: Any) -> list[Any]:
    """Every process's `tree` of NumPy arrays of equal shapes, on every process, to the bit."""
    leaves, structure = jax.tree.flatten(tree)
    packed = np.concatenate([np.ascontiguousarray(leaf).reshape(-1).view(np.uint8) for leaf in leaves])
    ends = np.cumsum([leaf.nbytes for leaf in leaves])[:-1]

    def unpack(buffer: np.ndarray) -> Any:
        parts = zip(np.split(buffer, ends), leaves, strict=True)
        return jax.tree.unflatten(structure, [part.copy().view(leaf.dtype).reshape(leaf.shape) for part, leaf in parts])

    return [unpack(buffer) for buffer in multihost_utils.process_allgather(packed)]


def thread_pool_size() -> int:
    """Threads XLA's CPU backend may split a long sum over; results are bitwise the same only for the same number."""
    return int(os.environ.get("NPROC") or max(os.cpu_count() or 1, jax.local_device_count()))


def enable_compilation_cache(directory: str | Path | None = None) -> None:
    """Keep compiled programs on disk, by default in `$JAX_COMPILATION_CACHE_DIR` or `~/.cache/al_jax/compiled`."""
    configured = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    chosen = directory or configured or Path.home() / ".cache" / "al_jax" / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
