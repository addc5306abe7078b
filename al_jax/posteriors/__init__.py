"""Posteriors over functions, one file each; all obey `al_jax.testing.check_posterior`."""

from al_jax.posteriors.cyclical_sghmc import cyclical_sghmc
from al_jax.posteriors.dpe import dpe
from al_jax.posteriors.ensemble import ensemble
from al_jax.posteriors.evidential import evidential
from al_jax.posteriors.laplace import laplace
from al_jax.posteriors.loss_prediction import loss_prediction
from al_jax.posteriors.mc_dropout import mc_dropout
from al_jax.posteriors.nuts import nuts, nuts_last_layer
from al_jax.posteriors.point import point
from al_jax.posteriors.pretrained import pretrained
from al_jax.posteriors.sgld import sgld
from al_jax.posteriors.shrink_and_perturb import shrink_and_perturb
from al_jax.posteriors.snapshot_ensemble import snapshot_ensemble
from al_jax.posteriors.sngp import sngp
from al_jax.posteriors.svi import svi
from al_jax.posteriors.swag import swag
from al_jax.posteriors.variational import variational
from al_jax.posteriors.waal import waal

__all__ = [
    "cyclical_sghmc",
    "dpe",
    "ensemble",
    "evidential",
    "laplace",
    "loss_prediction",
    "mc_dropout",
    "nuts",
    "nuts_last_layer",
    "point",
    "pretrained",
    "sgld",
    "shrink_and_perturb",
    "snapshot_ensemble",
    "sngp",
    "svi",
    "swag",
    "variational",
    "waal",
]
