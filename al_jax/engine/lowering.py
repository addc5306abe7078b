"""Programs for groups of seeds: mapped over a layout, lowered, compiled side by side, kept, and their memory."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import psutil
from jax.sharding import NamedSharding, PartitionSpec

from al_jax.engine.parallel import Layout


def mapped_over_seeds(function: Callable, layout: Layout, mapped: Sequence[bool]) -> Callable:
    """`function` for a group: `mapped` says which of its arguments have the axes [devices, width]; results all do."""
    axes = tuple(0 if m else None for m in mapped)
    per_device = jax.vmap(function, in_axes=axes)
    if layout.mode == "replicas":
        # Within jit: a bare pmap is not exported to other platforms, nor, in several processes, lowered from shapes.
        @jax.jit
        def of_group(*args: Any) -> Any:
            # Leaf by leaf: pmap takes as many axes as there are leaves for those of the leaves, where an argument has
            # none and another has two.
            leaves, structure = jax.tree.flatten(args)
            of_leaves = [axis for arg, axis in zip(args, axes, strict=True) for _ in jax.tree.leaves(arg)]

            def unflattened(*leaves: Any) -> Any:
                return per_device(*jax.tree.unflatten(structure, leaves))

            how: dict[str, Any] = {"axis_name": "replicas", "devices": layout.devices}
            return jax.pmap(unflattened, in_axes=tuple(of_leaves), **how)(*leaves)

        return of_group

    def of_block(*args: Any) -> Any:
        blocks = [jax.tree.map(lambda leaf: leaf[0], arg) if m else arg for m, arg in zip(mapped, args, strict=True)]
        return jax.tree.map(lambda leaf: leaf[None], per_device(*blocks))

    return jax.jit(of_block, out_shardings=NamedSharding(layout.mesh, PartitionSpec()))


class Lowered(NamedTuple):
    """A program for a group of seeds that is not compiled yet; where it was made before, it is."""

    key: Any  # None: it is made for one call, and not kept
    program: Any  # lowered, or compiled

    @property
    def out_info(self) -> Any:
        """Shapes and types of its results."""
        return self.program.out_info


_programs: OrderedDict[Any, Any] = OrderedDict()
"""The executables made last, by what `lower_over_seeds` was given."""
KEPT = 32


def lower_over_seeds(
    function: Callable, layout: Layout, mapped: Sequence[bool], *args: Any, kept: bool = True
) -> Lowered:
    """Lower `mapped_over_seeds` for these arguments, or find what was compiled for the same function and shapes.

    Not `kept`: the function is a new object in every call, which nobody would find again.
    """
    if not kept:
        return Lowered(None, mapped_over_seeds(function, layout, mapped).lower(*args))  # type: ignore[attr-defined]
    leaves, structure = jax.tree.flatten(args)
    of_leaves = tuple((leaf.shape, leaf.dtype, getattr(leaf, "sharding", None)) for leaf in leaves)
    key = function, layout, tuple(mapped), structure, of_leaves, jax.config.jax_enable_x64  # type: ignore[attr-defined]
    if key in _programs:
        _programs.move_to_end(key)
        return Lowered(key, _programs[key])
    return Lowered(key, mapped_over_seeds(function, layout, mapped).lower(*args))  # type: ignore[attr-defined]


def compile_lowered(programs: Sequence[Lowered]) -> list[Any]:
    """Compile programs side by side: the compiler runs in its own threads, and leaves Python alone.

    A result is one executable: called with other shapes it raises instead of compiling again.
    """

    def compiled(lowered: Lowered) -> Any:
        return lowered.program if lowered.key in _programs else lowered.program.compile()

    with ThreadPoolExecutor(max(len(programs), 1)) as threads:
        executables = list(threads.map(compiled, programs))
    for lowered, executable in zip(programs, executables, strict=True):
        if lowered.key is not None:
            _programs[lowered.key] = executable
            _programs.move_to_end(lowered.key)
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return executables


def compile_over_seeds(function: Callable, layout: Layout, mapped: Sequence[bool], *args: Any) -> Any:
    """One program of `compile_lowered`, which is not kept."""
    return compile_lowered([lower_over_seeds(function, layout, mapped, *args, kept=False)])[0]


def check_memory(executables: Sequence[Any], state: Any, layout: Layout) -> None:
    """ValueError when a device has less memory than the hungriest of these and the waiting `state`s of other groups.

    `state` holds the shapes of a group. To be called before the arguments are put on the devices.
    """
    used = [executable.memory_analysis() for executable in executables]
    at_once = max(m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes for m in used)
    waiting = (layout.num_groups - 1) * sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
    )
    needed, there = at_once + waiting, device_memory(layout)
    if needed > there:
        raise ValueError(
            f"a round needs {needed / 2**20:,.1f} MiB on each device and there are {there / 2**20:,.1f} MiB: a smaller "
            f"--chunk-size, a smaller --seed-block (now {layout.width}) or --pool-on host would need less"
        )


def device_memory(layout: Layout) -> int:
    """Bytes for each of the layout's devices here: what the runtime may use of it, or a share of the free memory."""
    local = [device for device in layout.devices if device.process_index == jax.process_index()]
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in local]
    share = psutil.virtual_memory().available // len(local)
    return min(share if limit is None else limit for limit in limits)
