"""CDAL: farthest-first in the probabilities of the classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.reading import marginal_of
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round


def symmetric_kl(log_p: Float[Array, "n C"], log_q: Float[Array, " C"]) -> Float[Array, " n"]:
    """KL(p || q) + KL(q || p) = sum_c (p_c - q_c) (log p_c - log q_c) in nats; every term is 0 or more.

    Probabilities below 1e-38 count as that, so that it is finite: at most 175.
    """
    lowest = jnp.log(jnp.finfo(log_p.dtype).tiny)
    log_p, log_q = jnp.maximum(log_p, lowest), jnp.maximum(log_q, lowest)
    return jnp.sum((jnp.exp(log_p) - jnp.exp(log_q)) * (log_p - log_q), axis=-1)


@memoised
def cdal() -> Acquisition:
    """Farthest-first in predicted probabilities: the row that differs most from all labelled and chosen ones (CDAL-CS).

    The distance of rows is KL(p || p') + KL(p' || p) in nats, of the means p over samples (Agarwal et al. 2020, section
    3); a row's is that of the nearest labelled or chosen row. `Acquired.scores` are these distances, +inf for the first
    pick when nothing is labelled. Memory: the log-probabilities [N, C]; cost: O(N C) a labelled row and a pick. In
    `acquire`, labelled rows come as `labelled_log_probs`.

    Departures: the authors' code takes half of that sum, which orders rows alike, averages it over the rows of a C by C
    table of class-specific mixtures (of the pixels of an image; here an image has one class), and draws its first pick
    at random; here it is the farthest from the labelled rows.
    """

    def log_p(round: Round, x: Inputs) -> Float[Array, "n C"]:
        return marginal_of(round.functions(x), "cdal")

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, "n C"]:
        return log_p(round, x)

    def prepare(key: PRNGKey, round: Round) -> Float[Array, "M C"]:
        return log_p(round, round.data.labelled.inputs)

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        known = round.context
        order, (rows, free) = shuffled(key, (summary, available))

        def nearer(slot: Array, nearest: Array) -> Array:
            return jnp.minimum(nearest, symmetric_kl(rows, known[slot]))

        nearest = jnp.full(len(rows), jnp.inf)
        if len(known):  # slots past `count` are padding
            nearest = jax.lax.fori_loop(0, round.data.labelled.count, nearer, nearest)

        def update(nearest: Array, row: Array) -> Array:
            return jnp.minimum(nearest, symmetric_kl(rows, rows[row]))

        picked = pick_one_by_one(nearest, lambda nearest, _: nearest, update, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarise, select, prepare)
