"""TA-VAAL: VAAL whose decoder and discriminator are told how large a loss the network predicts for a row."""

import jax
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.adversary import Sizes, adversarial
from al_jax.acquisitions.toolbox.reading import extra_of
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs, Round


def predicted_rank(round: Round, x: Inputs) -> Float[Array, "n 1"]:
    """The predicted loss through a sigmoid: where a row stands among others, as of a pair with predicted loss 0."""
    predicted: Array = jax.nn.sigmoid(extra_of(round.functions(x), "loss", "loss_prediction"))
    return predicted[:, None]


@memoised
def ta_vaal(latent: int = 32, steps: int = 500, width: int = 256, learning_rate: float = 5e-4) -> Acquisition:
    """`vaal`, made aware of the task by the predicted loss (Kim et al. 2021), of `posteriors.loss_prediction`.

    Arguments and departures as of `vaal`. The rank goes through a sigmoid wherever it is used; the authors' code gives
    the discriminator the raw one. ValueError as of `vaal`, and for a posterior that predicts no loss.
    """
    return adversarial("ta_vaal", predicted_rank, Sizes(latent, width, steps, learning_rate))
