"""The selector that takes the row farthest from all chosen ones, and D^2 sampling, which takes it at random."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.greedy import Picked, pick_one_by_one
from al_jax.acquisitions.toolbox.representations import Factors
from al_jax.acquisitions.toolbox.similarities import squared_distances_to, squared_norms
from al_jax.types import PRNGKey


def farthest_first(rows: Factors, nearest: Float[Array, " n"], available: Bool[Array, " n"], batch_size: int) -> Picked:
    """Farthest-first traversal (Gonzalez 1985) from squared distances `nearest` to what is chosen already.

    O(N D) a pick. Values are squared distances; where nothing was chosen, `nearest` says by what the first is picked.
    """
    norms = squared_norms(rows)

    def updated(nearest: Array, row: Array) -> Array:
        return jnp.minimum(nearest, squared_distances_to(rows, norms, row))

    return pick_one_by_one(nearest, lambda nearest, _: nearest, updated, available, batch_size)


def kmeans_plus_plus(
    key: PRNGKey,
    rows: Factors,
    nearest: Float[Array, " n"],
    available: Bool[Array, " n"],
    batch_size: int,
    weights: Float[Array, " n"] | None = None,
    first: Float[Array, " n"] | None = None,
) -> Picked:
    """D^2 sampling (Arthur & Vassilvitskii 2007): rows are drawn one by one in proportion to `nearest` times weight.

    `nearest` are squared distances to what is chosen; where all are 0 or infinite, the available rows of that kind are
    equally likely. With `first` the first row is not drawn, but that of the largest `first`. Values are the squared
    distances at which the rows were drawn, and `first` of the first.
    """
    norms = squared_norms(rows)

    def noisy(state: tuple[Array, Array], _: Array) -> tuple[Array, Array]:
        nearest, count = state
        # All that is infinitely far is equally far; Gumbel noise on the logarithms samples in proportion.
        logs = jnp.where(jnp.isposinf(nearest), 200.0, jnp.where(nearest > 0, jnp.log(nearest), -200.0))
        if weights is not None:
            logs += jnp.log(jnp.maximum(weights, 1e-38))
        drawn = logs + jax.random.gumbel(jax.random.fold_in(key, count), nearest.shape), nearest
        if first is None:
            return drawn
        return jax.tree.map(lambda at_first, later: jnp.where(count == 0, at_first, later), (first, first), drawn)

    def updated(state: tuple[Array, Array], row: Array) -> tuple[Array, Array]:
        nearest, count = state
        return jnp.minimum(nearest, squared_distances_to(rows, norms, row)), count + 1

    return pick_one_by_one((nearest, jnp.zeros((), jnp.int32)), noisy, updated, available, batch_size)
