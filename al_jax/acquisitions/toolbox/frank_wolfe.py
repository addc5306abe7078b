"""The selector that approximates the sum of all rows by few of them: Frank-Wolfe."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.pool import check_batch_size
from al_jax.types import Acquired, PRNGKey

STEPS_A_ROW = 20
"""Steps after which the search ends with fewer rows than asked for, for each of these."""


class Walk(NamedTuple):
    """Frank-Wolfe's iterate: the weighted sum of chosen rows, in which order they came, and how many."""

    sum: Float[Array, " K"]
    came: Int[Array, " n"]  # 0, 1, ... of chosen rows; n for the others
    error: Float[Array, " n"]  # |residual|, where the row was chosen
    distinct: Int[Array, ""]
    step: Int[Array, ""]


def towards_the_sum(
    key: PRNGKey, rows: Float[Array, "n K"], available: Bool[Array, " n"], batch_size: int, stop_early: bool = False
) -> Acquired:
    """The rows with weight when `frank_wolfe` has as many as asked for, in the order in which they came.

    Scores are minus the distance that was left then. Fewer rows with weight (after 20 B steps, with `stop_early` after
    B, or of equal rows): the others are random, and score -1e30. ValueError unless `batch_size` is 1 to n.
    """
    check_batch_size(batch_size, len(available))
    order, (rows, free) = shuffled(key, (rows, available))
    walk = frank_wolfe(rows, free, batch_size, batch_size if stop_early else STEPS_A_ROW * batch_size)
    size = len(rows)
    # Chosen rows in the order they came, then available ones, then the rest; each of these in a random order.
    rank = jnp.where(walk.came < size, walk.came, jnp.where(free, size, size + 1))
    positions = jnp.argsort(rank, stable=True)[:batch_size]
    scores = jnp.where(walk.came < size, -walk.error, jnp.where(free, -1e30, -jnp.inf))
    return Acquired(order[positions], scores[positions])


def frank_wolfe(rows: Float[Array, "n K"], available: Bool[Array, " n"], wanted: int, most_steps: int) -> Walk:
    """Steps until `wanted` rows have weight, `most_steps` are over, or nothing is left to approximate."""
    lengths = jnp.where(available, jnp.sqrt(jnp.sum(rows * rows, axis=1)), 0.0)
    usable = lengths > 0
    total, whole = lengths.sum(), jnp.sum(jnp.where(available[:, None], rows, 0.0), axis=0)

    def going(walk: Walk) -> Array:
        left = jnp.sum(jnp.square(whole - walk.sum)) > 1e-12 * jnp.sum(jnp.square(whole))
        return (walk.distinct < wanted) & (walk.step < most_steps) & usable.any() & left

    def step(walk: Walk) -> Walk:
        residual = whole - walk.sum
        along = jnp.matmul(rows, residual, precision="highest") / jnp.where(usable, lengths, 1.0)
        row = jnp.argmax(jnp.where(usable, along, -jnp.inf))
        direction = total / lengths[row] * rows[row] - walk.sum
        square = jnp.sum(direction * direction)
        share = jnp.sum(direction * residual) / jnp.where(square > 0, square, 1.0)
        after = walk.sum + jnp.clip(share, 0.0, 1.0) * direction
        new = walk.came[row] == len(rows)
        return Walk(
            after,
            walk.came.at[row].min(walk.distinct),
            jnp.where(new, walk.error.at[row].set(jnp.sqrt(jnp.sum(jnp.square(whole - after)))), walk.error),
            walk.distinct + new,
            walk.step + 1,
        )

    zero = jnp.zeros((), jnp.int32)
    n = len(rows)
    return jax.lax.while_loop(
        going, step, Walk(jnp.zeros(rows.shape[1]), jnp.full(n, n, jnp.int32), jnp.zeros(n), zero, zero)
    )
