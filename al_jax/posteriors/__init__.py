"""Posteriors over functions, one file each; all obey `al_jax.testing.check_posterior`."""

from al_jax.posteriors.ensemble import ensemble
from al_jax.posteriors.mc_dropout import mc_dropout
from al_jax.posteriors.point import point
from al_jax.posteriors.variational import variational

__all__ = ["ensemble", "mc_dropout", "point", "variational"]
