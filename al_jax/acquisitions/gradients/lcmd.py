"""LCMD: the farthest row of the largest cluster."""

from jaxtyping import Array

from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.lcmd import largest_cluster_maximum_distance
from al_jax.acquisitions.toolbox.representations import Name, known_rows, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def lcmd(representation: Name = "gradients") -> Acquisition:
    """The row farthest from its centre in the cluster of the largest sum of squares (Holzmueller et al. 2023).

    Labelled and chosen rows are the centres (TP mode); every other row belongs to its nearest. `Acquired.scores` are
    the distances to the centre, for the first row, when nothing is labelled, its norm.

    Args:
      representation: "gradients" of the last layer, "features", "probabilities" (means over draws) or "draws" (how each
        draw's log-probabilities differ from the mean).

    O(N D) a pick. Duplicates of chosen rows are last. ValueError when it needs features and the network names none.
    """
    of = named(representation)

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        rows, known = centred(rows, known)
        squared, owner = nearest(rows, known, labelled)
        picked = largest_cluster_maximum_distance(rows, squared, owner, len(known[0]), free, batch_size)
        return Acquired(order[picked.positions], picked.distances)

    return Acquisition(summarised(of), select, of_labelled(of))
