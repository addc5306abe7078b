"""Uncertainty herding: MaxHerding in which uncertain rows weigh more."""

from al_jax.acquisitions.features.max_herding import herding
from al_jax.memo import memoised
from al_jax.types import Acquisition, ScoreFn


@memoised
def u_herding(score: ScoreFn, bandwidth: float | None = None) -> Acquisition:
    """`max_herding` in which every row u weighs its uncertainty score(u) (Bae et al. 2025, uncertainty herding).

    Scores below 0 weigh nothing; where all are 0 all rows weigh the same. The bandwidth stays what it is over the
    rounds, and predictions keep their temperature: the paper's rules for both are not built in.
    """
    return herding(score, bandwidth)
