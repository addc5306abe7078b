"""The loop of greedy selectors: the best row, then what it changes for the others, B times in one scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.pool import check_batch_size
from al_jax.types import PRNGKey

LOWEST = -3.0e38
"""What a value of -inf or NaN counts as: below all others, and still above every row that is not available."""


class Picked(NamedTuple):
    """B distinct positions, and the values at which they were picked: -inf for a row that was not available."""

    positions: Int[Array, " B"]
    values: Float[Array, " B"]

    @property
    def distances(self) -> Float[Array, " B"]:
        """Where values are squared distances."""
        return jnp.where(jnp.isneginf(self.values), -jnp.inf, jnp.sqrt(jnp.maximum(self.values, 0.0)))


def pick_one_by_one(
    state: Any,
    values: Callable[[Any, Bool[Array, " n"]], Any],
    updated: Callable[[Any, Array], Any],
    available: Bool[Array, " n"],
    batch_size: int,
) -> Picked:
    """Take the free row of the highest `values(state, free)` and go on with `updated(state, row)`, `batch_size` times.

    Free rows are available and not taken yet. `values` may return two arrays, what is maximised and what is told of the
    picks. The first of equals is taken: give rows in a random order (`shuffled`). When no row is available any more the
    others follow. ValueError unless `batch_size` is 1 to n.
    """
    check_batch_size(batch_size, len(available))

    def one(carry: tuple[Any, Array, Array], _: None) -> tuple[Any, tuple[Array, Array]]:
        state, free, taken = carry
        found = values(state, free)
        now, told = found if isinstance(found, tuple) else (found, found)
        level = jnp.where(free, jnp.maximum(jnp.where(jnp.isnan(now), LOWEST, now), LOWEST), 1.1 * LOWEST)
        row = jnp.argmax(jnp.where(taken, -jnp.inf, level))
        score = jnp.where(free[row] & ~jnp.isnan(told[row]), told[row], -jnp.inf)
        return (updated(state, row), free.at[row].set(False), taken.at[row].set(True)), (row, score)

    start = state, available, jnp.zeros(len(available), bool)
    return Picked(*jax.lax.scan(one, start, length=batch_size)[1])


def shuffled(key: PRNGKey, rows: Any) -> tuple[Int[Array, " n"], Any]:
    """A random order of the rows, and the rows in it: then the first of equals is a random one."""
    order = jax.random.permutation(key, len(jax.tree.leaves(rows)[0]))
    return order, jax.tree.map(lambda leaf: leaf[order], rows)
