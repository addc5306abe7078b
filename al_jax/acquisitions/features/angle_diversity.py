"""Angle diversity: a score less the largest cosine with the rows picked before."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.combinators.parts import alongside, as_score
from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.reading import features_of
from al_jax.acquisitions.toolbox.similarities import unit
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


@memoised
def angle_diversity(score: ScoreFn | Acquisition, trade_off: float = 0.5) -> Acquisition:
    """Greedily the row with the largest trade_off score(x) - (1 - trade_off) max_s |cos(x, s)| (Brinker 2003).

    s are the rows that the batch has already; the first pick is the best score. Cosines are between
    `Predictions.features`, 0 for those of length 0; the score has its own unit, which `trade_off` must suit, since
    cosines lie in [0, 1]. `Acquired.scores` are the values maximised. With trade_off 1 it is `top_k`. Memory: the
    features [N, D]; cost: O(N D) a pick.

    Departures: the paper minimises trade_off |distance to the hyperplane| + (1 - trade_off) max |cos| of a support
    vector machine's kernel; here minus a score stands for the distance. ValueError unless trade_off is in [0, 1], for a
    method that chooses whole batches, and when the network names no features.
    """
    if not 0 <= trade_off <= 1:
        raise ValueError(f"trade_off={trade_off}: expected 0 to 1")

    def extra(predictions: Any) -> Float[Array, "n D"]:
        return unit((features_of(predictions, "angle_diversity"),))[0]

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        order, ((scores, units), free) = shuffled(key, (summary, available))

        def values(nearest: Array, _: Array) -> Array:
            score = trade_off * scores if trade_off else jnp.zeros(len(scores))  # 0 times -inf is NaN
            return score - (1.0 - trade_off) * nearest

        def update(nearest: Array, row: Array) -> Array:
            return jnp.maximum(nearest, jnp.abs(jnp.matmul(units, units[row], precision="highest")))

        picked = pick_one_by_one(jnp.zeros(len(scores)), values, update, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return alongside(as_score(score), extra, select)
