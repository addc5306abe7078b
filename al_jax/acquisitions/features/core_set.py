"""Core-set: k-center greedy in feature space."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.pool import check_batch_size
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round


def squared_distances(a: Float[Array, "n D"], b: Float[Array, "m D"]) -> Float[Array, "n m"]:
    """|a_i - b_j|^2 by one matrix product in full float32 precision; never negative. Centre a and b first."""
    products = jnp.matmul(a, b.T, precision="highest")
    return jnp.maximum(jnp.sum(a * a, -1)[:, None] + jnp.sum(b * b, -1) - 2.0 * products, 0.0)


@memoised
def core_set() -> Acquisition:
    """Farthest-first traversal: add the row farthest from all labelled and chosen rows (Sener & Savarese 2018, alg. 1).

    Distances are Euclidean between `Predictions.features`; `Acquired.scores` are the distances at which the rows were
    picked, +inf for the first pick when nothing is labelled. Memory: the features [N, D] and the distances [N, M].
    ValueError when the network names no features.
    """

    def features(predictions: Any) -> Array:
        if predictions.features is None:
            raise ValueError(
                "core_set needs `features`, and there are none: the network must name them by "
                "self.sow('intermediates', 'features', h)"
            )
        return predictions.features

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, "n D"]:
        return features(round.functions(x))

    def prepare(key: PRNGKey, round: Round) -> Float[Array, "M D"]:
        return features(round.functions(round.data.labelled.inputs))

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        check_batch_size(batch_size, len(summary))
        order = jax.random.permutation(key, len(summary))  # argmax takes the first of equals: a random one
        # Features often share a large mean, in which their differences would drown; eight bits of it keep ties exact.
        centre = jnp.mean(summary, axis=0).astype(jnp.bfloat16).astype(summary.dtype)
        rows, known, available = summary[order] - centre, round.context - centre, available[order]
        labelled = jnp.arange(len(known)) < round.data.labelled.count
        to_labelled = jnp.where(labelled, squared_distances(rows, known), jnp.inf)
        # One number per row: its squared distance while it may be chosen, -1 unavailable, -2 already chosen.
        nearest = jnp.where(available, jnp.min(to_labelled, axis=1, initial=jnp.inf), -1.0)

        def pick(nearest: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
            chosen = jnp.argmax(nearest)
            to_chosen = squared_distances(rows, rows[chosen][None])[:, 0]
            closer = jnp.where(nearest >= 0, jnp.minimum(nearest, to_chosen), nearest)
            return closer.at[chosen].set(-2.0), (chosen, nearest[chosen])

        _, (chosen, squared) = jax.lax.scan(pick, nearest, length=batch_size)
        return Acquired(order[chosen], jnp.where(squared >= 0, jnp.sqrt(jnp.maximum(squared, 0.0)), -jnp.inf))

    return Acquisition(summarise, select, prepare)
