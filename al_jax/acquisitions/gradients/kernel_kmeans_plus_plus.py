"""D^2 sampling in any representation of the rows."""

import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.gradients.badge import drawn
from al_jax.acquisitions.toolbox.representations import Factors, Name, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def kernel_kmeans_plus_plus(representation: Name = "gradients") -> Acquisition:
    """D^2 sampling in any representation, labelled rows being centres already (Holzmueller et al. 2023, KMeansPP-TP).

    Scores are the distances at which rows were drawn, +inf for the first when nothing is labelled. Cost as of
    `farthest_first`, which always takes the farthest row. ValueError as there.
    """
    of = named(representation)

    def select(key: PRNGKey, round: Round, summary: Factors, available: Array, batch_size: int) -> Acquired:
        rows, known = centred(summary, round.context)
        labelled = jnp.arange(len(known[0])) < round.data.labelled.count
        to_labelled, _ = nearest(rows, known, labelled)
        return drawn(key, jnp.arange(len(available)), rows, to_labelled, available, batch_size)

    return Acquisition(summarised(of), select, of_labelled(of))
