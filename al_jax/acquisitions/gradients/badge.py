"""BADGE: a batch that is diverse and of large gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.farthest_first import kmeans_plus_plus
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import gradients, summarised
from al_jax.acquisitions.toolbox.similarities import squared_norms
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
        far = jnp.full(len(order), jnp.inf)  # from the rows chosen so far: none
        largest = squared_norms(rows) if first == "largest" else None
        picked = kmeans_plus_plus(draw_key, rows, far, free, batch_size, first=largest)
        return Acquired(order[picked.positions], picked.distances)

    return Acquisition(summarised(gradients), select)
