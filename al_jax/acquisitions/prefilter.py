"""Restricts an acquisition to the best rows of a cheap score."""

from al_jax.memo import memoised
from al_jax.types import Acquisition, ScoreFn


@memoised
def prefilter(score: ScoreFn, m: int, acquisition: Acquisition) -> Acquisition:
    """Offer `acquisition` only the m available rows with the highest `score`; only those are ever summarised.

    ValueError when m < 1 or when `acquisition` is prefiltered already.
    """
    if m < 1:
        raise ValueError(f"m={m}: expected at least 1")
    if acquisition.shortlist is not None:
        raise ValueError(f"acquisition is already restricted to {acquisition.shortlist[1]} rows; prefilter it once")
    return acquisition._replace(shortlist=(score, m))
