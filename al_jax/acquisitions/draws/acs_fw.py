"""Active Bayesian coresets: the rows whose weighted log-likelihoods sum to that of the whole pool (Frank-Wolfe)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.reading import marginal_of
from al_jax.acquisitions.toolbox.representations import summarised
from al_jax.information import entropy, log_marginal
from al_jax.memo import memoised
from al_jax.pool import check_batch_size
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

STEPS_A_ROW = 20
"""Steps after which the search ends with fewer rows than asked for, for each of these."""


class Walk(NamedTuple):
    """Frank-Wolfe's iterate: the weighted sum of chosen rows, in which order they came, and how many."""

    sum: Float[Array, " K"]
    came: Int[Array, " n"]  # 0, 1, ... of chosen rows; n for the others
    error: Float[Array, " n"]  # |residual|, where the row was chosen
    distinct: Int[Array, ""]
    step: Int[Array, ""]


def expected_log_likelihoods(log_probs: Float[Array, "n K C"], centre: bool = False) -> Float[Array, "n K"]:
    """L_nk = sum_c p_c log p_k(c) + H[p], p the mean over draws; log-probabilities below -20 count as -20.

    With `centre`, less its mean over draws.
    """
    log_p = log_marginal(log_probs)
    values = jnp.einsum("nc,nkc->nk", jnp.exp(log_p), jnp.maximum(log_probs, -20.0), precision="highest")
    values += entropy(log_p)[:, None]
    return values - values.mean(axis=1, keepdims=True) if centre else values


@memoised
def acs_fw(centre: bool = False, stop_early: bool = False) -> Acquisition:
    """Frank-Wolfe towards the pool's expected log-likelihood, until B rows have weight (Pinsler et al. 2019, alg. 1).

    Every available row is L_n in R^K, one entry a draw: the expected log-likelihood of its unknown label. Each step
    goes towards the row with the largest <residual, L_n> / |L_n|, by their eq. 9, so far that |sum_n L_n - sum_n w_n
    L_n| is smallest. `Acquired.scores` are minus this distance when a row was chosen first, in nats.

    Args:
      centre: take the mean over draws from every L_n, which leaves the rows' effect on the posterior alone.
      stop_early: end after B steps, as the authors do, even if fewer rows have weight.

    The rest of a batch with fewer rows with weight (after 20 B steps, or of equal rows) is random, and scores -1e30.
    Memory: [N, K]; O(N K) a step. ValueError for a regression and for dense predictions.
    """

    def of(predictions: object) -> Float[Array, "n K"]:
        marginal_of(predictions, "acs_fw")  # refuses what has other axes
        return expected_log_likelihoods(predictions.log_probs, centre)  # type: ignore[attr-defined]

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        check_batch_size(batch_size, len(available))
        order, (rows, free) = shuffled(key, (summary, available))
        walk = frank_wolfe(rows, free, batch_size, batch_size if stop_early else STEPS_A_ROW * batch_size)
        size = len(rows)
        # Chosen rows in the order they came, then available ones, then the rest; each of these in a random order.
        rank = jnp.where(walk.came < size, walk.came, jnp.where(free, size, size + 1))
        positions = jnp.argsort(rank, stable=True)[:batch_size]
        scores = jnp.where(walk.came < size, -walk.error, jnp.where(free, -1e30, -jnp.inf))
        return Acquired(order[positions], scores[positions])

    return Acquisition(summarised(of), select)


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
