"""Restricts an acquisition to random rows."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.combinators.parts import as_acquisition
from al_jax.memo import memoised
from al_jax.types import Acquisition, GaussianPredictions, ScoreFn


def the_same(samples: Any) -> Float[Array, " n"]:
    """A score that is 0 for all rows: the best m of it are m random ones."""
    table = samples.mean if isinstance(samples, GaussianPredictions) else jax.tree.leaves(samples)[0]
    return jnp.zeros(len(table))


@memoised
def subset(acquisition: ScoreFn | Acquisition, m: int) -> Acquisition:
    """Offer the acquisition m random available rows only, every round others; only those are ever summarised.

    All available rows are equally likely; where there are fewer than m, all are offered. Cost: the network is evaluated
    on m rows a round, not on the pool, whose predictions the constant score of the shortlist does not use. It is to one
    method what `pool_subset` is to a whole campaign; with a pool on the host prefer that one, since a shortlist reads
    every row. ValueError when m < 1 or when the acquisition has a shortlist already.
    """
    if m < 1:
        raise ValueError(f"m={m}: expected at least 1")
    part = as_acquisition(acquisition)
    if part.shortlist is not None:
        raise ValueError(
            f"acquisition is already restricted to {part.shortlist[1]} rows: give pool_subset to the campaign instead"
        )
    return part._replace(shortlist=(the_same, m))
