"""Random acquisition, the mandatory baseline."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.top_k import select_any
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs, Round


@memoised
def random() -> Acquisition:
    """Acquire B rows uniformly at random. The network is never evaluated on the pool: all rows have the same score."""

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        return jnp.zeros(rows.shape)

    return Acquisition(summarise, select_any)
