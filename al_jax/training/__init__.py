"""Training on the labelled buffer, in one compiled loop."""

from al_jax.training.augmentation import (
    Augmentation,
    chain,
    cutout,
    feature_dropout,
    noise,
    random_crop,
    random_flip,
)
from al_jax.training.loop import minibatch_rows, train
from al_jax.training.objective import Apply, Minibatch, Objective
from al_jax.training.objectives import consistency, entropy_minimisation, fixmatch, mixup, pseudo_labels
from al_jax.training.optimisers import adam, adamw, sgd
from al_jax.training.parts import early_stopping, training
from al_jax.training.penalty import Params, Penalty, l2
from al_jax.training.rand_augment import rand_augment, random_zoom
from al_jax.training.schedules import Schedule, cosine, drops, linear
from al_jax.training.settings import Training

__all__ = [
    "Apply",
    "Augmentation",
    "Minibatch",
    "Objective",
    "Params",
    "Penalty",
    "Schedule",
    "Training",
    "adam",
    "adamw",
    "chain",
    "consistency",
    "cosine",
    "cutout",
    "drops",
    "early_stopping",
    "entropy_minimisation",
    "feature_dropout",
    "fixmatch",
    "l2",
    "linear",
    "minibatch_rows",
    "mixup",
    "noise",
    "pseudo_labels",
    "rand_augment",
    "random_crop",
    "random_flip",
    "random_zoom",
    "sgd",
    "train",
    "training",
]
