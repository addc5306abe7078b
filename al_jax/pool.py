"""Streams functions over a pool in chunks of one fixed size, in constant memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.models.forward import num_rows
from al_jax.types import Acquisition, Inputs, PRNGKey, Round


class Candidates(NamedTuple):
    """What `select` chooses from: n rows of the pool, their summaries, and which of them may be chosen."""

    rows: Int[Array, " n"]
    summary: Any
    available: Bool[Array, " n"]


def stream(function: Callable[[Inputs, Array], Any], inputs: Inputs, rows: Int[Array, " n"], chunk_size: int) -> Any:
    """`function(x [c, ...], rows [c])` over `inputs[rows]`, chunk by chunk, its results joined along the leading axis.

    Every chunk has the same size (the last is filled by repeating rows, and the surplus dropped): XLA's results differ
    in the last bits between sizes.
    """
    size = min(chunk_size, len(rows))
    chunks = -(-len(rows) // size)
    padded = rows[jnp.arange(chunks * size) % len(rows)].reshape(chunks, size)

    def one(chunk: Array) -> Any:
        return function(jax.tree.map(lambda leaf: leaf[chunk], inputs), chunk)

    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(rows)], jax.lax.map(one, padded))


def check_batch_size(batch_size: int, size: int) -> None:
    """ValueError unless a batch of distinct rows can be taken from `size` rows."""
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size={batch_size}: expected 1 to {size}, the rows to choose from")


def best(
    key: PRNGKey, scores: Float[Array, " n"], available: Bool[Array, " n"], batch_size: int
) -> tuple[Array, Array]:
    """The `batch_size` best available positions and their scores; ties are broken at random by the key.

    Available rows come first whatever their score (-inf is legal, NaN ranks last); the others score -inf.
    ValueError unless `batch_size` is 1 to n.
    """
    check_batch_size(batch_size, len(scores))
    tie = jax.random.uniform(key, scores.shape)
    positions = jnp.arange(len(scores))
    _, _, _, order = jax.lax.sort((~available, -scores, tie, positions), num_keys=3)
    chosen = order[:batch_size]
    return chosen, jnp.where(available[chosen], scores[chosen], -jnp.inf)


def candidates(
    key: PRNGKey,
    acquisition: Acquisition,
    round: Round,
    inputs: Inputs,
    available: Bool[Array, " N"],
    chunk_size: int,
    subset: int | None = None,
) -> Candidates:
    """Summaries of the pool's rows, of `subset` random available ones, or of the acquisition's shortlist of these."""
    subset_key, shortlist_key = jax.random.split(key)
    rows = jnp.arange(num_rows(inputs))
    if subset is not None and subset < len(rows):
        rows, _ = best(subset_key, jnp.zeros(len(rows)), available, subset)
    if acquisition.shortlist is not None and acquisition.shortlist[1] < len(rows):
        score, m = acquisition.shortlist
        scores = stream(lambda x, _: score(round.functions(x).log_probs), inputs, rows, chunk_size)
        kept, _ = best(shortlist_key, scores, available[rows], m)
        rows = rows[kept]
    summary = stream(lambda x, r: acquisition.summarise(round, x, r), inputs, rows, chunk_size)
    return Candidates(rows, summary, available[rows])
