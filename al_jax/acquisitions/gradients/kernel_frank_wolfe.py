"""Kernel Frank-Wolfe: rows whose weighted mean is that of the pool."""

from typing import Any

from jaxtyping import Array

from al_jax.acquisitions.features.k_means import vectors
from al_jax.acquisitions.toolbox.frank_wolfe import towards_the_sum
from al_jax.acquisitions.toolbox.representations import Name, summarised
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def kernel_frank_wolfe(representation: Name = "features") -> Acquisition:
    """Frank-Wolfe towards the sum of all available rows, until B rows have weight (Holzmueller et al. 2023, FW-P).

    Each step goes towards the row with the largest <residual, row> / |row|, as `acs_fw` does with log-likelihoods, so
    far that the distance to the sum is smallest. `Acquired.scores` are minus this distance when a row was chosen first.
    Labelled rows play no part. The rest of a batch with fewer rows with weight is random, and scores -1e30.

    Memory: the rows; O(N D) a step. ValueError for "gradients", which are no vectors here, and when the network names
    no features.
    """
    of = vectors(representation)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        (rows,) = summary
        return towards_the_sum(key, rows, available, batch_size)

    return Acquisition(summarised(of), select)
