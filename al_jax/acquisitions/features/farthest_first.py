"""Farthest-first traversal in any representation of the rows."""

from jaxtyping import Array

from al_jax.acquisitions.toolbox.farthest_first import farthest_first as traversal
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import Name, known_rows, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import centred, nearest
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def farthest_first(representation: Name = "features") -> Acquisition:
    """Add the row farthest from all labelled and chosen rows (FF-Active, Geifman & El-Yaniv 2017).

    With "gradients" or "draws" it is the kernel farthest-first of Holzmueller et al. 2023 (MaxDist, TP mode).
    `Acquired.scores` are the distances at which the rows were picked, +inf for the first when nothing is labelled.
    Duplicates are at distance 0 and come last. Cost: O(N D) a pick and O(N M D) for M labelled rows; memory: the
    represented rows. ValueError when the representation needs features and the network names none.
    """
    of = named(representation)
    return Acquisition(summarised(of), select, of_labelled(of))


def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
    """The `select` of farthest-first traversal."""
    order, (rows, free) = shuffled(key, (summary, available))
    known, labelled = known_rows(round)
    rows, known = centred(rows, known)
    picked = traversal(rows, nearest(rows, known, labelled)[0], free, batch_size)
    return Acquired(order[picked.positions], picked.distances)
