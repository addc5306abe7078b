"""k-DPP: a batch drawn in proportion to the determinant of quality times similarity."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.scores import entropy
from al_jax.acquisitions.toolbox.k_dpp import sample_k_dpp
from al_jax.acquisitions.toolbox.representations import features_and, summarised
from al_jax.acquisitions.toolbox.similarities import inner_products, unit
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn

JITTER = 1e-3
"""Added to the diagonal of the similarities: with fewer features than rows in a batch their determinant would be 0."""


@memoised
def k_dpp(score: ScoreFn = entropy, power: float = 1.0, m: int = 1000) -> Acquisition:
    """An exact sample with probability proportional to det(q_i S_ij q_j) (Kulesza & Taskar 2011; Biyik et al. 2019).

    q = score^power, S the cosines of features plus 1e-3 on the diagonal, among the m available rows with the best
    scores. `max_det` takes the mode of such a distribution. `Acquired.scores` are the scores of the rows drawn. Scores
    below 1e-6 count as that. Cost: O(m^3) for the eigenvectors, 0.5 s at m = 1000 on a CPU. ValueError unless power is
    0 or more and m at least the batch, and when the network names no features.
    """
    if not 0 <= power < float("inf"):
        raise ValueError(f"power={power}: expected 0 or more, and finite")
    if m < 1:
        raise ValueError(f"m={m}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        if m < batch_size:
            raise ValueError(f"m={m}: expected at least batch_size={batch_size}")
        rows, scores = summary
        best_key, draw_key = jax.random.split(key)
        chosen, told = best(best_key, scores, available, min(m, len(scores)))
        free = available[chosen]
        quality = jnp.where(free, jnp.maximum(scores[chosen], 1e-6) ** power, 0.0)
        some = unit((rows[chosen],))
        similar = inner_products(some, some) + JITTER * jnp.eye(len(chosen))
        quality = quality / jnp.maximum(quality.max(), 1e-30)
        drawn = sample_k_dpp(draw_key, quality[:, None] * similar * quality[None, :], free, batch_size)
        return Acquired(chosen[drawn], jnp.where(free[drawn], told[drawn], -jnp.inf))

    return Acquisition(summarised(features_and(score)), select)
