"""The selector of LCMD: the row farthest from its centre in the largest cluster."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.greedy import Picked, pick_one_by_one
from al_jax.acquisitions.toolbox.representations import Factors
from al_jax.acquisitions.toolbox.similarities import squared_distances_to, squared_norms


class Owned(NamedTuple):
    """How far every row is from its nearest centre, and which that is; labelled rows are centres 0 to M - 1."""

    squared: Float[Array, " n"]
    centre: Int[Array, " n"]
    added: Int[Array, ""]


def largest_cluster_maximum_distance(
    rows: Factors,
    nearest: Float[Array, " n"],
    owner: Int[Array, " n"],
    num_known: int,
    available: Bool[Array, " n"],
    batch_size: int,
) -> Picked:
    """Holzmueller et al. 2023, LCMD: a cluster's size is the sum of its available rows' squared distances.

    Rows begin with the `owner` [0, num_known) that `similarities.nearest` gives. With no centre at all the row of the
    largest norm is first. Values are squared distances. O(N D) a pick.
    """
    size = num_known + batch_size
    norms = squared_norms(rows)

    def values(state: Owned, free: Array) -> Array:
        none = jnp.isposinf(state.squared)
        sums = jax.ops.segment_sum(jnp.where(available & ~none, state.squared, 0.0), state.centre, size)
        # A chosen row is its own centre at distance 0, so that clusters of chosen rows have size 0.
        of_largest = state.centre == jnp.argmax(sums)
        return jnp.where(none, norms, jnp.where(of_largest, state.squared, state.squared - jnp.inf))

    def updated(state: Owned, row: Array) -> Owned:
        to_row = squared_distances_to(rows, norms, row)
        closer = to_row < state.squared
        centre = jnp.where(closer, num_known + state.added, state.centre)
        return Owned(jnp.minimum(state.squared, to_row), centre, state.added + 1)

    return pick_one_by_one(Owned(nearest, owner, jnp.zeros((), jnp.int32)), values, updated, available, batch_size)
