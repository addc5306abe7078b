"""Streams functions over a pool in chunks of one fixed size, in constant memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from al_jax.mesh import chunking, fetch, joined, own_part
from al_jax.types import Acquisition, GaussianPredictions, Inputs, PRNGKey, Round, ScoreFn

BLOCK = 1 << 16
"""Rows sorted at a time."""


class Candidates(NamedTuple):
    """What `select` chooses from: n rows of the pool, their summaries, and which of them may be chosen."""

    rows: Int[Array, " n"]
    summary: Any
    available: Bool[Array, " n"]


def stream(
    function: Callable[[Inputs, Array], Any],
    inputs: Inputs,
    rows: Int[Array, " n"],
    chunk_size: int,
    mesh: Mesh | None = None,
    placed: bool = False,
) -> Any:
    """`function(x [c, ...], rows [c])` over `inputs[rows]`, chunk by chunk, its results joined along the leading axis.

    Every chunk has the same size (the last is filled by repeating rows, and the surplus dropped): XLA's results differ
    in the last bits between sizes. With a mesh (within `mesh.on_mesh`) each device takes whole chunks, and all get
    all results; `placed` says that `inputs` is this device's part (`parallel.place_rows`) and `rows` all, in order.
    """
    size, chunks = chunking(len(rows), chunk_size, 1 if mesh is None else mesh.size)
    padded = rows[jnp.arange(chunks * size) % len(rows)].reshape(chunks, size)
    if mesh is not None:
        padded = own_part(padded, mesh)
    if placed:
        x = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), inputs)
        found = jax.lax.map(lambda chunk: function(*chunk), (x, padded))
    else:
        found = jax.lax.map(lambda chunk: function(jax.tree.map(lambda leaf: leaf[chunk], inputs), chunk), padded)
    if mesh is not None:
        found = joined(found)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(rows)], found)


def check_batch_size(batch_size: int, size: int) -> None:
    """ValueError unless a batch of distinct rows can be taken from `size` rows."""
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size={batch_size}: expected 1 to {size}, the rows to choose from")


def best(
    key: PRNGKey, scores: Float[Array, " n"], available: Bool[Array, " n"], batch_size: int
) -> tuple[Array, Array]:
    """The `batch_size` best available positions and their scores; ties are broken at random by the key.

    Available rows come first whatever their score (-inf is legal, NaN ranks last); the others score -inf. Of many rows
    each `BLOCK` is sorted for itself first, in constant memory. ValueError unless `batch_size` is 1 to n.
    """
    check_batch_size(batch_size, len(scores))
    group = jnp.where(available, 0, 1).astype(jnp.int8)

    def first(key: PRNGKey, group: Array, scores: Array, positions: Array) -> tuple[Array, ...]:
        tie = jax.random.uniform(key, scores.shape)
        ordered = jax.lax.sort((group, -scores, tie, positions), num_keys=3)
        return tuple(column[:batch_size] for column in ordered)

    blocks = -(-len(scores) // BLOCK)
    if blocks == 1 or batch_size > BLOCK // 4:
        *_, chosen = first(key, group, scores, jnp.arange(len(scores)))
    else:
        padding = blocks * BLOCK - len(scores)
        columns = jnp.pad(group, (0, padding), constant_values=2), jnp.pad(scores, (0, padding))

        def of_block(block: Array) -> tuple[Array, ...]:
            groups, values = (jax.lax.dynamic_slice_in_dim(column, block * BLOCK, BLOCK) for column in columns)
            return first(jax.random.fold_in(key, block), groups, values, block * BLOCK + jnp.arange(BLOCK))

        winners = [column.reshape(-1) for column in jax.lax.map(of_block, jnp.arange(blocks))]
        chosen = jax.lax.sort(winners, num_keys=3)[3][:batch_size]
    return chosen, jnp.where(available[chosen], scores[chosen], -jnp.inf)


def offered_rows(key: PRNGKey, available: Bool[Array, " N"], subset: int | None) -> Int[Array, " n"]:
    """All rows of the pool in order, or `subset` random ones, available ones first, where that is fewer."""
    rows = jnp.arange(len(available))
    if subset is None or subset >= len(rows):
        return rows
    return best(jax.random.split(key)[0], jnp.zeros(len(rows)), available, subset)[0]


def shortlisted(
    key: PRNGKey, rows: Int[Array, " n"], scores: Float[Array, " n"], available: Bool[Array, " N"], m: int
) -> Int[Array, " m"]:
    """Those m of the pool's `rows` that are available and have the best scores; `key` is that of `offered_rows`."""
    return rows[best(jax.random.split(key)[1], scores, available[rows], m)[0]]


def ranked(acquisition: Acquisition, round: Round, x: Inputs) -> Float[Array, " n"]:
    """The scores `[n]` of rows `x [n, ...]` by which the acquisition makes its shortlist."""
    assert acquisition.shortlist is not None
    return scored(acquisition.shortlist[0], round.functions(x).samples)


def scored(score: ScoreFn, samples: Any) -> Float[Array, " n"]:
    """The scores `[n]`; ValueError for a score of the other kind of predictions, or that makes anything else."""
    name, regression = getattr(score, "__name__", score), isinstance(samples, GaussianPredictions)
    try:
        scores = score(samples)
    except (AttributeError, TypeError) as error:
        if "missing" in str(error) and "required positional argument" in str(error):
            raise ValueError(
                f"acquisition={name} needs more than predictions: expected a score of them alone"
            ) from error
        if regression:
            raise ValueError(
                f"acquisition={name} reads class probabilities, and this is a regression: "
                "expected bald, variance, epig, core_set or random"
            ) from error
        if any(f"has no attribute {field}" in str(error).replace("'", "") for field in GaussianPredictions._fields):
            raise ValueError(
                f"acquisition={name} reads predictions of a regression, and these are class probabilities: expected "
                "bald, entropy or another score of classes"
            ) from error
        raise
    expected = (len(samples.mean if regression else samples),)
    if jnp.shape(scores) != expected:
        raise ValueError(f"acquisition={name} makes an array {jnp.shape(scores)}: expected {expected}, a score a row")
    return scores


def candidates(
    key: PRNGKey,
    acquisition: Acquisition,
    round: Round,
    inputs: Inputs,
    available: Bool[Array, " N"],
    chunk_size: int,
    subset: int | None = None,
    mesh: Mesh | None = None,
) -> Candidates:
    """Summaries of the pool's rows, of `subset` random available ones, or of the acquisition's shortlist of these."""

    def over(function: Callable[[Inputs, Array], Any], rows: Array) -> Any:
        if mesh is None or len(rows) == len(available):
            return stream(function, inputs, rows, chunk_size, mesh, placed=mesh is not None)
        fetched = fetch(inputs, rows)
        places = jnp.arange(len(rows))
        return stream(lambda x, places: function(x, rows[places]), fetched, places, chunk_size, mesh)

    rows = offered_rows(key, available, subset)
    if acquisition.shortlist is not None and acquisition.shortlist[1] < len(rows):
        scores = over(lambda x, _: ranked(acquisition, round, x), rows)
        rows = shortlisted(key, rows, scores, available, acquisition.shortlist[1])
    summary = over(lambda x, r: acquisition.summarise(round, x, r), rows)
    return Candidates(rows, summary, available[rows])
