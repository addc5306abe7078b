"""The pool's rows spread over a mesh of devices, as a program sees it that all of them run at once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def unplaced(tree: Any, rows: int, mesh: Mesh | None) -> Any:
    """The first `rows` of what `place_rows` put on the mesh, whole on every device that reads them."""
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf[:rows], everywhere), tree)


EVERYWHERE, OWN_PART = PartitionSpec(), PartitionSpec("pool")


def on_mesh(function: Callable, mesh: Mesh | None, *specs: Any) -> Callable:
    """`function`, run by every device of the mesh of mode `pool` at once; its results must be the same on all.

    Every spec says whether a device sees an argument whole, EVERYWHERE, or only the rows that `place_rows` put there,
    OWN_PART. All that touches rows runs within: an array from outside could be used there, but not indexed.
    """
    if mesh is None:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=EVERYWHERE, check_vma=False)


def own_part(tree: Any, mesh: Mesh) -> Any:
    """Within `on_mesh`: this device's equal part of the leading axis."""

    def part(leaf: jax.Array) -> jax.Array:
        size = len(leaf) // mesh.size
        return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index("pool") * size, size)

    return jax.tree.map(part, tree)


def joined(tree: Any) -> Any:
    """Within `on_mesh`: the parts of all devices, one after the other, on every device."""
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, "pool", tiled=True), tree)


def fetch(tree: Any, rows: jax.Array) -> Any:
    """Within `on_mesh`: `rows [n]` of what `place_rows` put there, whichever devices have them, on every device."""

    def of_leaf(leaf: jax.Array) -> jax.Array:
        places = rows - jax.lax.axis_index("pool") * len(leaf)
        here = ((places >= 0) & (places < len(leaf))).reshape(-1, *(1,) * (leaf.ndim - 1))
        found = jnp.where(here, leaf[jnp.clip(places, 0, len(leaf) - 1)], jnp.zeros((), leaf.dtype))
        summed = found if jnp.issubdtype(leaf.dtype, jnp.floating) else found.astype(jnp.int32)
        return jax.lax.psum(summed, "pool").astype(leaf.dtype)

    return jax.tree.map(of_leaf, tree)


def chunking(rows: int, chunk_size: int, devices: int = 1) -> tuple[int, int]:
    """(rows of a chunk, number of chunks): enough for all rows, and equally many for every device."""
    size = min(chunk_size, rows)
    return size, -(-rows // (size * devices)) * devices


def one_by_one_on_cpu(function: Callable) -> Callable:
    """`function` of arrays alone, which a vmap on CPU runs for one seed after the other, elsewhere for all at once.

    XLA's CPU backend gives a matrix product with a seed axis to slow loops and one without to a fast library: scoring
    digits for 8 seeds took 2.4 times as long under vmap.
    """

    @functools.wraps(function)
    def on_this_backend(*args: Any) -> Any:
        return (jax.custom_batching.sequential_vmap(function) if jax.default_backend() == "cpu" else function)(*args)

    return on_this_backend
