"""Multiclass-level uncertainty, and its most uncertain rows of clusters (MCLU, MCLU-ECBD)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one
from al_jax.acquisitions.toolbox.kmeans import kmeans
from al_jax.acquisitions.toolbox.representations import features_and, summarised
from al_jax.memo import memoised
from al_jax.pool import best
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


def mclu(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """Minus the gap of the two largest logits, each the mean over draws, in nats (Demir et al. 2011, eq. 3).

    The authors have distances to an SVM's hyperplanes. Differences of logits are those of log-probabilities; one below
    -1e30 counts as that. With a single class there is no gap, and it is 0.
    """
    logits = jnp.sort(jnp.mean(jnp.maximum(log_probs, -1e30), axis=-2), axis=-1)
    return logits[..., -2] - logits[..., -1] if logits.shape[-1] > 1 else jnp.zeros(logits.shape[:-1])


@memoised
def mclu_ecbd(factor: int = 10) -> Acquisition:
    """The `factor` B rows of the highest `mclu`, in B clusters of features, the highest of each (Demir et al. 2011).

    `Acquired.scores` are `mclu`. Where rows are in fewer clusters than B the next of all follow. Departure: k-means of
    the network's features instead of kernel k-means of inputs. Cost as of `k_means`, on factor B rows. ValueError when
    factor < 1 or the network names no features.
    """
    if factor < 1:
        raise ValueError(f"factor={factor}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        rows, scores = summary
        best_key, cluster_key = jax.random.split(key)
        chosen, _ = best(best_key, scores, available, min(factor * batch_size, len(scores)))
        rows, scores, free = rows[chosen], scores[chosen], available[chosen]
        clusters = kmeans(cluster_key, rows, free.astype(rows.dtype), batch_size)

        def values(fresh: Array, _: Array) -> tuple[Array, Array]:
            # Rows of a cluster that has none yet come first; `chosen` is in the order of the score.
            place = -jnp.arange(len(scores), dtype=jnp.float32)
            return place + len(scores) * fresh[clusters.assigned], scores

        def updated(fresh: Array, row: Array) -> Array:
            return fresh.at[clusters.assigned[row]].set(False)

        picked = pick_one_by_one(jnp.ones(batch_size, bool), values, updated, free, batch_size)
        return Acquired(chosen[picked.positions], picked.values)

    return Acquisition(summarised(features_and(mclu)), select)
