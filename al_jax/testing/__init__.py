"""The laws that every score, acquisition and posterior obeys, to be run on anything of that kind, your own included.

Each check raises AssertionError with the law that broke and a counterexample, and returns None when all hold.
"""

from al_jax.testing.acquisitions import check_acquisition, committee
from al_jax.testing.laws import TOLERANCE, lowered
from al_jax.testing.posteriors import check_posterior
from al_jax.testing.scores import check_score, score_examples

__all__ = [
    "TOLERANCE",
    "check_acquisition",
    "check_posterior",
    "check_score",
    "committee",
    "lowered",
    "score_examples",
]
