"""DropQuery: rows whose predicted class does not survive dropout of their features, spread by clustering."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from al_jax.acquisitions.features.k_means import centres
from al_jax.acquisitions.toolbox.reading import features_of, head_of
from al_jax.acquisitions.toolbox.similarities import unit
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round


@memoised
def drop_query(passes: int = 3, rate: float = 0.75) -> Acquisition:
    """Cluster the rows whose class changes under dropout; take the nearest to each centre (Gupte et al. 2024).

    A pass drops each feature of a row with probability `rate` and divides the others by 1 - rate; the last layer alone,
    `round.head`, predicts again. A row is a candidate when the class of `point` changes in more than half of the
    passes. Candidates are clustered by unit features, as in the authors' code. With fewer than B candidates, fewer
    changes will do, in the end none: the paper does not say; a code of it stops at one and fills up at random.
    `Acquired.scores` are minus the distances to the centres, `info["candidates"]` how many there were. Cost: passes
    products [N, D] by [D, C], and k-means. ValueError unless passes >= 1 and 0 <= rate < 1, and when the network has no
    last layer on its features, as in `acquire`.
    """
    if passes < 1:
        raise ValueError(f"passes={passes}: expected at least 1")
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate}: expected a share, 0 or more and below 1")

    def summarise(round: Round, x: Inputs, rows: Array) -> tuple[Array, Array]:
        head, predictions = head_of(round, "drop_query"), round.functions(x)
        features = features_of(predictions, "drop_query")
        return features, changes(round.key, head, features, predictions.point, rows, passes, rate)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        features, changed = summary
        enough = [(available & (changed >= least)).sum() >= batch_size for least in range(passes + 1)]
        least = jnp.minimum(passes // 2 + 1, jnp.sum(jnp.stack(enough)) - 1)
        candidates = available & (changed >= least)
        (rows,) = unit((features,))
        found = centres(key, rows, candidates.astype(rows.dtype), candidates, batch_size)
        return found._replace(info={"candidates": candidates.sum()})

    return Acquisition(summarise, select)


def changes(
    key: PRNGKey,
    head: Callable[[Array], Array],
    features: Float[Array, "n D"],
    point: Float[Array, "n C"],
    rows: Int[Array, " n"],
    passes: int,
    rate: float,
) -> Int[Array, " n"]:
    """In how many passes of dropout of a row's features its class changes; masks depend on the key and the row."""
    before = jnp.argmax(point, axis=-1)

    def changed(number: Array) -> Array:
        def mask(row: Array) -> Array:
            of_pass = jax.random.fold_in(jax.random.fold_in(key, row), number)
            return jax.random.bernoulli(of_pass, 1.0 - rate, features.shape[1:])

        kept = jnp.where(jax.vmap(mask)(rows), features / (1.0 - rate), 0.0)
        return jnp.argmax(head(kept), axis=-1) != before

    return jnp.sum(jax.vmap(changed)(jnp.arange(passes)), axis=0)  # the head is traced once
