"""Mixture: each of several methods chooses a share of the batch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from al_jax.acquisitions.combinators.parts import as_acquisition, joined, view
from al_jax.memo import memoised
from al_jax.pool import best, check_batch_size
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


@memoised
def mixture(*acquisitions: ScoreFn | Acquisition, shares: tuple[float, ...] | None = None) -> Acquisition:
    """Each method in turn chooses its share of the batch from what those before it left: epsilon-greedy and the like.

    `mixture(bald, random, shares=(0.8, 0.2))`: of B rows the i-th method chooses share_i B. Where that is no whole
    number it is the next lower or higher one, at random, with a mean of exactly share_i B: at B = 1 one method chooses,
    with the probability of its share. A method is asked for the higher number, and its first picks are taken. What
    others picked is not available to it, but no labelled row either: it may choose rows close to those.

    Shares are positive and sum to 1; by default all are equal. `Acquired.scores` are those of the method that chose the
    row, in its own units, and `info["part"]` says which did; other `info` of the parts is dropped. Cost and memory:
    those of all parts together, with one evaluation of the network. ValueError for shares that do not fit, and for
    parts with different shortlists: `prefilter` the mixture instead.
    """
    parts = tuple(map(as_acquisition, acquisitions))
    if not parts:
        raise ValueError("acquisitions: expected at least one")
    if shares is None:
        shares = (1.0 / len(parts),) * len(parts)
    if len(shares) != len(parts):
        raise ValueError(f"shares={shares}: expected {len(parts)}, one for every acquisition")
    if not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ValueError(f"shares={shares}: expected positive numbers that sum to 1")

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        size = len(available)
        check_batch_size(batch_size, size)
        count_key, fill_key, part_key = jax.random.split(key, 3)
        counts, limits = slots(count_key, shares, batch_size)
        taken, place = jnp.zeros(size, bool), jnp.zeros(size, jnp.int32)
        scores, source = jnp.full(size, -jnp.inf), jnp.zeros(size, jnp.int32)
        first = jnp.zeros((), jnp.int32)
        for i, part in enumerate(parts):
            open_rows = available & ~taken
            picked = part.select(jax.random.fold_in(part_key, i), view(round, i), summary[i], open_rows, limits[i])
            valid = open_rows[picked.indices]
            rank = jnp.cumsum(valid) - 1
            rows = jnp.where(valid & (rank < counts[i]), picked.indices, size)  # beyond the last: dropped
            taken = taken.at[rows].set(True, mode="drop")
            place = place.at[rows].set(first + rank, mode="drop")
            scores = scores.at[rows].set(picked.scores, mode="drop")
            source = source.at[rows].set(i, mode="drop")
            first = first + counts[i]
        order, _ = best(fill_key, jnp.where(taken, -place.astype(jnp.float32), -jnp.inf), available, batch_size)
        return Acquired(order, jnp.where(available[order], scores[order], -jnp.inf), {"part": source[order]})

    return joined(parts, select)


def slots(key: PRNGKey, shares: tuple[float, ...], batch_size: int) -> tuple[list[Array], list[int]]:
    """How many rows each part chooses, and the most that it ever chooses: share_i B, rounded down or up at random.

    With one uniform u the i-th part has floor(e_i + u) - floor(e_(i-1) + u) rows, e_i the sum of the first i shares of
    B (systematic sampling): each differs from its mean by less than 1, and they sum to B.
    """
    exact = np.round(np.asarray(shares) / sum(shares) * batch_size, 6)
    ends = np.round(np.concatenate([[0.0], np.cumsum(exact)]), 5)
    ends[-1] = batch_size
    whole = np.floor(ends)
    up = jnp.asarray(ends - whole, jnp.float32) + jax.random.uniform(key) >= 1.0
    numbers = jnp.asarray(whole, jnp.int32) + (up & jnp.asarray(ends > whole))
    limits = [min(max(math.ceil(e), 1), batch_size) for e in exact]
    return [numbers[i + 1] - numbers[i] for i in range(len(shares))], limits
