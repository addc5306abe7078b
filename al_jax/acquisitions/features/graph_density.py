"""Graph density: rows in dense regions, each of which makes its neighbours less dense."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.representations import Factors, features, known_rows, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import BLOCK, centred, squared_distances
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def graph_density(neighbours: int = 10) -> Acquisition:
    """The densest row of a nearest-neighbour graph, whose neighbours then lose its density (Ebert et al. 2012, RALF).

    Available and labelled rows are joined to their `neighbours` nearest ones by Euclidean distances d of features, and
    the other way. An edge weighs exp(-d^2 / 2s^2), a row's density is the mean weight of its edges; a pick takes its
    own density from all that it is joined to, and labelled rows do so before the first pick, in the order they were
    labelled. `Acquired.scores` are the densities at which rows were picked.

    Departures: s^2 is the mean of d^2 over the graph, and distances are Euclidean, where the paper has L1 and a free s.
    Cost: O((N + M)^2 D) for the graph, once a round; memory: (N + M) neighbours and a block of distances. Prefilter it,
    or offer a subset, above some 20 000 rows. ValueError when neighbours < 1 and when the network names no features.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours={neighbours}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        rows, known = centred(rows, known)
        everything = (jnp.concatenate([rows[0], known[0]]),)
        there, size = jnp.concatenate([free, labelled]), len(free)
        near, squared = nearest_neighbours(everything, there, min(neighbours, len(there) - 1))
        density = densities(near, squared)

        def taken_from_neighbours(density: Float[Array, " n"], row: Array) -> Float[Array, " n"]:
            joined = (near == row).any(axis=1).at[near[row]].set(True, mode="drop")
            return jnp.where(joined & (jnp.arange(len(there)) != row), density - density[row], density)

        def known_row(density: Array, slot: Array) -> tuple[Array, None]:
            return jnp.where(labelled[slot], taken_from_neighbours(density, size + slot), density), None

        if len(labelled):
            density, _ = jax.lax.scan(known_row, density, jnp.arange(len(labelled)))
        picked = pick_one_by_one(density, lambda now, _: now[:size], taken_from_neighbours, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(features), select, of_labelled(features))


def nearest_neighbours(
    rows: Factors, there: Bool[Array, " n"], count: int
) -> tuple[Int[Array, "n k"], Float[Array, "n k"]]:
    """Which rows that are `there` are nearest to each of them, and at which squared distances.

    Where there are fewer, and for rows that are not there: n and +inf.
    """
    n = len(there)
    size = min(BLOCK, n)

    def of_block(block: Array) -> tuple[Array, Array]:
        places = jnp.minimum(block * size + jnp.arange(size), n - 1)
        squared = squared_distances(tuple(factor[places] for factor in rows), rows)
        joined = there & there[places][:, None] & (places[:, None] != jnp.arange(n))
        nearest, which = jax.lax.top_k(-jnp.where(joined, squared, jnp.inf), count)
        return jnp.where(jnp.isfinite(nearest), which, n), -nearest

    near, squared = jax.lax.map(of_block, jnp.arange(-(-n // size)))
    return near.reshape(-1, count)[:n], squared.reshape(-1, count)[:n]


def densities(near: Int[Array, "n k"], squared: Float[Array, "n k"]) -> Float[Array, " n"]:
    """The mean weight of every row's edges, its own and those that others have to it, each counted once."""
    n, edge = len(near), jnp.isfinite(squared)
    scale = jnp.sum(jnp.where(edge, squared, 0.0)) / jnp.maximum(edge.sum(), 1)
    weight = jnp.where(edge, jnp.exp(-jnp.where(edge, squared, 0.0) / jnp.where(scale > 0, 2 * scale, 1.0)), 0.0)
    # An edge that both ends have is in both lists: an end counts it in its own, and not in the other's.
    back = jnp.take(near, near, axis=0, mode="fill", fill_value=-1)  # the neighbours' neighbours
    mutual = (back == jnp.arange(n)[:, None, None]).any(axis=2)
    only_here = edge & ~mutual
    total = weight.sum(axis=1) + jnp.zeros(n + 1).at[near].add(jnp.where(only_here, weight, 0.0))[:n]
    edges = edge.sum(axis=1) + jnp.zeros(n + 1).at[near].add(only_here.astype(jnp.float32))[:n]
    return total / jnp.maximum(edges, 1)
