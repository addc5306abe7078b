"""D^2 sampling in any representation of the rows."""

from jaxtyping import Array

from al_jax.acquisitions.toolbox.farthest_first import kmeans_plus_plus as d2_sampling
from al_jax.acquisitions.toolbox.representations import Factors, Name, known_rows, named, of_labelled, summarised
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
        known, labelled = known_rows(round)
        rows, known = centred(summary, known)
        picked = d2_sampling(key, rows, nearest(rows, known, labelled)[0], available, batch_size)
        return Acquired(picked.positions, picked.distances)

    return Acquisition(summarised(of), select, of_labelled(of))
