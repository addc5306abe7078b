"""BADGE: a batch that is diverse and of large gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.farthest_first import kmeans_plus_plus as d2_sampling
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import gradients, summarised
from al_jax.acquisitions.toolbox.similarities import squared_distances_to, squared_norms
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def badge(first: Literal["largest", "uniform"] = "largest") -> Acquisition:
    """k-means++ on last-layer gradients g = (p - e_y) (x) h of the predicted label y (Ash et al. 2020, alg. 1).

    p is the mean over draws. The first row is that of the largest |g|, as in the authors' code, or ("uniform") any, as
    in k-means++; each further one is drawn in proportion to its squared distance to the nearest chosen row. Labelled
    rows play no part. `Acquired.scores` are the distances at which rows were drawn, for the first |g| or +inf.
    Gradients stay factors [N, C] and [N, D]: O(N (C + D)) a pick. With one class all gradients are 0 and the batch is
    random. ValueError when the network names no features.
    """
    if first not in ("largest", "uniform"):
        raise ValueError(f"first={first!r}: expected 'largest' or 'uniform'")

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        order_key, draw_key = jax.random.split(key)
        order, (rows, free) = shuffled(order_key, (summary, available))
        if first == "uniform":
            return drawn(draw_key, order, rows, jnp.full(len(order), jnp.inf), free, batch_size)
        norms = squared_norms(rows)
        start = jnp.argmax(jnp.where(free, norms, -1.0))
        rest = free.at[start].set(False)
        if batch_size == 1:
            return Acquired(order[start][None], jnp.where(free[start], jnp.sqrt(norms[start]), -jnp.inf)[None])
        # Rows at distance 0 from all others come before the first one once more only where nothing else is left.
        found = drawn(draw_key, order, rows, squared_distances_to(rows, norms, start), rest, batch_size)
        again = found.indices == order[start]
        keep = jnp.argsort(again, stable=True)[: batch_size - 1]
        head = jnp.where(free[start], jnp.sqrt(norms[start]), -jnp.inf)
        return Acquired(
            jnp.concatenate([order[start][None], found.indices[keep]]),
            jnp.concatenate([head[None], found.scores[keep]]),
        )

    return Acquisition(summarised(gradients), select)


def drawn(key: PRNGKey, order: Array, rows: tuple, squared: Array, available: Array, batch_size: int) -> Acquired:
    """A D^2-sampled batch, with distances for scores."""
    picked = d2_sampling(key, rows, squared, available, batch_size)
    distances = jnp.where(jnp.isneginf(picked.values), -jnp.inf, jnp.sqrt(jnp.maximum(picked.values, 0.0)))
    return Acquired(order[picked.positions], distances)
