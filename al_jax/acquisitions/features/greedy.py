"""A batch picked row by row, in one scan."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.pool import check_batch_size
from al_jax.types import PRNGKey

LOW = -1e30
"""Stands for -inf and NaN, so that rows that may not be chosen can be worse still."""


def greedily(
    key: PRNGKey,
    available: Bool[Array, " n"],
    batch_size: int,
    state: Any,
    values: Callable[[Any, Bool[Array, " n"], PRNGKey], tuple[Float[Array, " n"], Float[Array, " n"]]],
    update: Callable[[Any, Int[Array, ""]], Any],
) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
    """The rows of the largest values, one after the other, and their scores.

    `values(state, open rows, key)` makes what is maximised and the scores to report; `update(state, row)` follows each
    pick. `open rows` are available and not chosen. Ties are broken by the key. Where
    no available row is left other ones follow, with -inf. ValueError unless `batch_size` is 1 to n.
    """
    size = len(available)
    check_batch_size(batch_size, size)
    order_key, value_key = jax.random.split(key)
    order = jax.random.permutation(order_key, size)  # argmax takes the first of equals: a random one

    def pick(carry: tuple[Any, Array], step: Array) -> tuple[tuple[Any, Array], tuple[Array, Array]]:
        state, chosen = carry
        open_rows = available & ~chosen
        found, scores = values(state, open_rows, jax.random.fold_in(value_key, step))
        ranked = jnp.clip(jnp.nan_to_num(found, nan=LOW), LOW, -LOW)
        ranked = jnp.where(open_rows, ranked, jnp.where(chosen, 3 * LOW, 2 * LOW))
        row = order[jnp.argmax(ranked[order])]
        score = jnp.where(open_rows[row] & ~jnp.isnan(scores[row]), scores[row], -jnp.inf)
        return (update(state, row), chosen.at[row].set(True)), (row, score)

    _, (rows, scores) = jax.lax.scan(pick, (state, jnp.zeros(size, bool)), jnp.arange(batch_size))
    return rows, scores
