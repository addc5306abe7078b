"""FALCUN: rows that are uncertain and whose probabilities differ from those picked before, drawn at random."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.reading import marginal_of
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round


def scaled(distances: Float[Array, " n"], open_rows: Bool[Array, " n"]) -> Float[Array, " n"]:
    """To [0, 1] over the open rows; 0 where all are equal."""
    low = jnp.min(jnp.where(open_rows, distances, jnp.inf))
    width = jnp.max(jnp.where(open_rows, distances, -jnp.inf)) - low
    return jnp.where(width > 0, (distances - low) / jnp.where(width > 0, width, 1.0), 0.0)


@memoised
def falcun(power: float = 10.0) -> Acquisition:
    """Rows drawn one by one in proportion to (uncertainty + diversity)^power (Gilhuber et al. 2024, eqs. 1 to 6).

    Uncertainty is u = 1 - (p_1 - p_2), of the two most probable classes of the mean over samples. Diversity d is at
    first u, and after every pick q the smaller of itself and sum_c |p_c - q_c|; it is scaled to [0, 1] over the rows
    that are left. Labelled rows do not repel. `Acquired.scores` are (u + d), in [0, 2], of each pick when it was drawn.
    Where u + d is 0 for all rows, and with power 0, all are equally likely. Memory: the probabilities [N, C]; cost:
    O(N C) a pick.

    Departures: none known. The authors' code with `distance_unc_norm` scales a copy of d, as here; scikit-activeml goes
    on with the scaled one. ValueError for a power that is negative or not finite.
    """
    if not 0 <= power < float("inf"):
        raise ValueError(f"power={power}: expected 0 or more, and finite")

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, "n C"]:
        return jnp.exp(marginal_of(round.functions(x), "falcun"))

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        order_key, draw_key = jax.random.split(key)
        order, (p, free) = shuffled(order_key, (summary, available))
        top = jax.lax.top_k(p, min(2, p.shape[1]))[0]
        uncertainty = 1.0 - (top[:, 0] - (top[:, 1] if top.shape[1] > 1 else 0.0))

        def values(state: tuple[Array, Array], open_rows: Array) -> tuple[Array, Array]:
            distances, count = state
            relevance = jnp.maximum(uncertainty + scaled(distances, open_rows), 0.0)
            none = (jnp.max(jnp.where(open_rows, relevance, 0.0)) <= 0) | (power == 0)
            logarithm = jnp.where(relevance > 0, power * jnp.log(jnp.where(relevance > 0, relevance, 1.0)), -jnp.inf)
            weight = jnp.where(none, 0.0, logarithm)
            noise = jax.random.gumbel(jax.random.fold_in(draw_key, count), weight.shape)
            return weight + noise, relevance  # the largest is a draw (Gumbel)

        def update(state: tuple[Array, Array], row: Array) -> tuple[Array, Array]:
            distances, count = state
            return jnp.minimum(distances, jnp.sum(jnp.abs(p - p[row]), axis=1)), count + 1

        picked = pick_one_by_one((uncertainty, jnp.zeros((), jnp.int32)), values, update, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarise, select)
