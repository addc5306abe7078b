"""Active testing: the mean loss of a finished model on a pool, from few labels that were chosen, without bias.

A test set that is drawn where the loss is expected to be large needs fewer labels, but its plain mean is too large.
`lure` weighs each label by how likely it was to be asked for, when it was asked for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from al_jax.information import log_marginal
from al_jax.types import PRNGKey


class Asked(NamedTuple):
    """Rows in the order they were drawn, without replacement, and the probability of each when it was drawn."""

    rows: Int[Array, " M"]
    probabilities: Float[Array, " M"]


def expected_loss(log_probs: Float[Array, "n K C"], model: Float[Array, "n C"]) -> Float[Array, " n"]:
    """-sum_c p(c | x) log f(c | x) in nats: the model's loss under a surrogate's mean prediction (Kossen et al. 2021).

    `log_probs` are samples of the surrogate, better another posterior than the `model` under test: of itself the model
    expects what it believes, and overlooks where it is confidently wrong.
    """
    surrogate = jnp.exp(log_marginal(log_probs))
    return -jnp.sum(jnp.where(surrogate > 0, surrogate * model, 0.0), axis=-1)


def ask(key: PRNGKey, scores: Float[Array, " N"], number: int, uniform: float = 0.1) -> Asked:
    """Draw `number` rows one by one, in proportion to their scores among the rows that are left.

    A share `uniform` of the probability is spread evenly, so that no row is out of reach: an estimate from rows of
    probability 0 would miss their losses. ValueError for less than 1 or more than N rows, and a share outside (0, 1].
    """
    size = len(scores)
    if not 1 <= number <= size:
        raise ValueError(f"number={number}: expected 1 to {size}, the rows to draw from")
    if not 0 < uniform <= 1:
        raise ValueError(f"uniform={uniform}: expected a share above 0, and at most 1")
    positive = jnp.maximum(scores, 0.0)

    def one(left: Array, key: Array) -> tuple[Array, tuple[Array, Array]]:
        weights = jnp.where(left, positive, 0.0)
        total, even = weights.sum(), left / left.sum()
        q = jnp.where(total > 0, (1 - uniform) * weights / jnp.where(total > 0, total, 1.0) + uniform * even, even)
        row = jax.random.categorical(key, jnp.log(q))
        return left.at[row].set(False), (row.astype(jnp.int32), q[row])

    _, (rows, probabilities) = jax.lax.scan(one, jnp.ones(size, bool), jax.random.split(key, number))
    return Asked(rows, probabilities)


def lure_weights(probabilities: Float[Array, " M"], size: int) -> Float[Array, " M"]:
    """v_m = 1 + (N - M) / (N - m) (1 / ((N - m + 1) q_m) - 1), m = 1, ..., M (Farquhar et al. 2021, eq. 11).

    N = `size` rows in all, q_m the probability of the m-th row when it was drawn. All are 1 for uniform draws, and when
    M = N. ValueError for more draws than rows.
    """
    number = len(probabilities)
    if number > size:
        raise ValueError(f"size={size}: expected at least {number}, the rows that were drawn")
    m = jnp.arange(1, number + 1)
    left = jnp.maximum(size - m, 1)  # the last of all rows: its factor N - M is 0
    return 1.0 + (size - number) / left * (1.0 / ((size - m + 1) * probabilities) - 1.0)


def lure(losses: Float[Array, " M"], probabilities: Float[Array, " M"], size: int) -> Float[Array, ""]:
    """The unbiased estimate of the mean loss over all `size` rows: the mean of v_m times the m-th loss.

    Farquhar et al. 2021, eq. 10. Any loss will do, also 0 and 1 for errors. ValueError as of `lure_weights`.
    """
    return jnp.mean(lure_weights(probabilities, size) * losses)
