"""Weighted k-means, and the rows nearest its centres."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.farthest_first import kmeans_plus_plus
from al_jax.acquisitions.toolbox.greedy import Picked, pick_one_by_one
from al_jax.acquisitions.toolbox.similarities import centred, squared_distances
from al_jax.types import PRNGKey

BLOCK = 1024
"""Rows assigned at a time."""
ITERATIONS = 25


class Clusters(NamedTuple):
    """A clustering of n rows into at most c clusters; `used` says which there are."""

    centres: Float[Array, "c D"]
    assigned: Int[Array, " n"]  # to the nearest centre, also rows of weight 0
    squared: Float[Array, " n"]  # distance to it
    used: Bool[Array, " c"]


def kmeans(
    key: PRNGKey,
    rows: Float[Array, "n D"],
    weights: Float[Array, " n"],
    num_clusters: int,
    used: int | Array | None = None,
    iterations: int = ITERATIONS,
) -> Clusters:
    """Lloyd's algorithm from a D^2-sampled start: clusters that minimise sum_i weight_i |row_i - centre|^2, locally.

    Rows of weight 0 have no influence. `used` may be traced and fewer than `num_clusters`, which sets the shapes; with
    fewer rows than clusters some are not used. Stops when no row changes its cluster, or after `iterations`. Cost:
    O(n D num_clusters) an iteration; memory O(n) and a block of distances beside the rows.
    """
    n, counted = len(rows), weights > 0
    mean = jnp.matmul(weights, rows, precision="highest") / jnp.maximum(weights.sum(), 1e-30)
    centre = mean.astype(jnp.bfloat16).astype(rows.dtype)
    rows = rows - centre  # distances by products lose what a large common offset takes
    far = jnp.full(n, jnp.inf)
    first = kmeans_plus_plus(key, (rows,), far, counted, min(num_clusters, n), weights).positions
    first = jnp.pad(first, (0, num_clusters - len(first)))
    there = jnp.arange(num_clusters) < jnp.minimum(counted.sum(), num_clusters if used is None else used)
    blocks = -(-n // BLOCK)
    padding = blocks * BLOCK - n
    in_blocks = jnp.pad(rows, ((0, padding), (0, 0))).reshape(blocks, BLOCK, -1)
    weights_in_blocks = jnp.pad(weights, (0, padding)).reshape(blocks, BLOCK)

    def assigned(centres: Array) -> tuple[Array, Array, Array, Array]:
        norms = jnp.where(there, jnp.sum(centres * centres, axis=1), jnp.inf)

        def of_block(carry: tuple[Array, Array], block: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple]:
            sums, totals = carry
            some, weight = block
            apart = norms - 2.0 * jnp.matmul(some, centres.T, precision="highest")
            nearest = jnp.argmin(apart, axis=1)
            share = jax.nn.one_hot(nearest, num_clusters, dtype=some.dtype) * weight[:, None]
            sums += jnp.matmul(share.T, some, precision="highest")
            squared = jnp.maximum(jnp.min(apart, axis=1) + jnp.sum(some * some, axis=1), 0.0)
            return (sums, totals + share.sum(0)), (nearest, squared)

        start = jnp.zeros_like(centres), jnp.zeros(num_clusters)
        (sums, totals), (nearest, squared) = jax.lax.scan(of_block, start, (in_blocks, weights_in_blocks))
        return sums, totals, nearest.reshape(-1)[:n], squared.reshape(-1)[:n]

    def going(state: tuple) -> Array:
        return (state[0] < iterations) & state[-1]

    def moved(state: tuple) -> tuple:
        step, centres, before, _, _ = state
        sums, totals, nearest, squared = assigned(centres)
        centres = jnp.where(totals[:, None] > 0, sums / jnp.maximum(totals[:, None], 1e-30), centres)
        return step + 1, centres, nearest, squared, jnp.any((nearest != before) & counted)

    start = jnp.zeros((), jnp.int32), rows[first], jnp.full(n, -1), jnp.zeros(n), jnp.ones((), bool)
    _, centres, _, _, _ = jax.lax.while_loop(going, moved, start)
    _, totals, nearest, squared = assigned(centres)
    return Clusters(centres + centre, nearest, squared, there & (totals > 0))


def nearest_to_centres(
    rows: Float[Array, "n D"], clusters: Clusters, available: Bool[Array, " n"], batch_size: int
) -> Picked:
    """For each of the first `batch_size` centres in turn, the available row nearest to it that is not taken yet.

    Centres that are not used come last. Values are minus the distances. Memory: [n, batch_size].
    """
    centres = clusters.centres[jnp.argsort(~clusters.used, stable=True)[:batch_size]]
    distances = jnp.sqrt(squared_distances(*centred((rows,), (centres,)))).T

    def values(count: Array, _: Array) -> Array:
        return -distances[count]

    return pick_one_by_one(jnp.zeros((), jnp.int32), values, lambda count, _: count + 1, available, batch_size)
