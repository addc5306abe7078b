"""Learning loss: the rows whose loss a head of the network predicts to be largest."""

from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.reading import extra_of
from al_jax.acquisitions.top_k import select_best
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs, Round


@memoised
def loss_prediction() -> Acquisition:
    """The rows with the largest predicted loss (LL4AL: Yoo & Kweon 2019), of `posteriors.loss_prediction`.

    The paper offers it a random subset of the pool each round: `pool_subset=`. ValueError for a posterior that predicts
    no loss.
    """

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        return extra_of(round.functions(x), "loss", "loss_prediction")

    return Acquisition(summarise, select_best)
