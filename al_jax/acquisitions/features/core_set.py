"""Core-set: k-center greedy in feature space."""

from al_jax.acquisitions.features.farthest_first import farthest_first
from al_jax.memo import memoised
from al_jax.types import Acquisition


@memoised
def core_set() -> Acquisition:
    """Farthest-first traversal: add the row farthest from all labelled and chosen rows (Sener & Savarese 2018, alg. 1).

    It is `farthest_first("features")`: distances are Euclidean between `Predictions.features`. ValueError when the
    network names no features.
    """
    return farthest_first("features")
