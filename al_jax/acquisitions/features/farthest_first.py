"""Farthest-first traversal in any representation of the rows."""

import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.farthest_first import farthest_first as traversal
from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.representations import Name, named, of_labelled, summarised
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
    rows, known = centred(rows, round.context)
    labelled = jnp.arange(len(known[0])) < round.data.labelled.count
    to_labelled, _ = nearest(rows, known, labelled)
    picked = traversal(rows, to_labelled, free, batch_size)
    distances = jnp.where(jnp.isneginf(picked.values), -jnp.inf, jnp.sqrt(jnp.maximum(picked.values, 0.0)))
    return Acquired(order[picked.positions], distances)
