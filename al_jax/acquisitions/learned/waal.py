"""WAAL: rows that are uncertain, and unlike the labelled ones to the critic that the network was trained with."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.reading import extra_of, marginal_of
from al_jax.acquisitions.top_k import select_best
from al_jax.memo import memoised
from al_jax.sweep import known
from al_jax.types import Acquisition, Inputs, Round


def uncertainty(log_p: Float[Array, "n C"]) -> Float[Array, " n"]:
    """-(|log p|_1 + |log p|_2) / 2 over classes: an upper bound of the loss under any label, largest at uniform p."""
    return -0.5 * (jnp.abs(log_p).sum(-1) + jnp.linalg.norm(log_p, axis=-1))


@memoised
def waal(weight: float = 10.0) -> Acquisition:
    """The rows with the largest `uncertainty` + weight * critic (Shui et al. 2020, section 4.3), of `posteriors.waal`.

    The norms of log p are the authors' code's mixture of both that the paper offers. ValueError for a posterior without
    a critic and for a negative weight.
    """
    if known(weight) and not 0 <= weight < float("inf"):
        raise ValueError(f"weight={weight}: expected 0 or more")

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        predictions = round.functions(x)
        return uncertainty(marginal_of(predictions, "waal")) + weight * extra_of(predictions, "critic", "waal")

    return Acquisition(summarise, select_best)
