"""VAAL: rows whose codes, in an autoencoder of labelled and unlabelled rows, a discriminator calls unlabelled."""

import jax.numpy as jnp

from al_jax.acquisitions.toolbox.adversary import Sizes, adversarial
from al_jax.memo import memoised
from al_jax.models.forward import num_rows
from al_jax.types import Acquisition


@memoised
def vaal(latent: int = 32, steps: int = 500, width: int = 256, learning_rate: float = 5e-4) -> Acquisition:
    """The rows that are most surely unlabelled to an adversary trained each round (VAAL: Sinha et al. 2019).

    It looks at the inputs alone, never at the classifier: see `toolbox.adversary`. Encoder, decoder and discriminator
    are dense, for inputs of any shape; the paper's are convolutional. `Acquired.scores` are logits. While nothing is
    labelled it chooses at random.

    Departures from the authors' code, which follow the paper: the divergence and the reconstruction are both sums over
    a row's numbers (the code takes a sum of one and the mean of the other), and there is no batch normalisation, by
    which a row's code would depend on its neighbours.

    Args:
      latent: numbers of a code.
      steps: of training, each on 64 labelled and 64 available rows; 0.1 to 0.5 s for 500 on digits.
      width: of the hidden layers, two in each network.
      learning_rate: of Adam.

    ValueError when a number is not positive, and for a pool on the host.
    """
    return adversarial("vaal", lambda round, x: jnp.zeros((num_rows(x), 1)), Sizes(latent, width, steps, learning_rate))
