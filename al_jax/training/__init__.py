"""Training on the labelled buffer, in one compiled loop."""

from al_jax.training.augmentation import Augmentation, chain, random_crop, random_flip
from al_jax.training.loop import minibatch_rows, train
from al_jax.training.optimisers import adam, adamw, sgd
from al_jax.training.parts import early_stopping, training
from al_jax.training.penalty import Params, Penalty, l2
from al_jax.training.schedules import Schedule, cosine, drops, linear
from al_jax.training.settings import Training

__all__ = [
    "Augmentation",
    "Params",
    "Penalty",
    "Schedule",
    "Training",
    "adam",
    "adamw",
    "chain",
    "cosine",
    "drops",
    "early_stopping",
    "l2",
    "linear",
    "minibatch_rows",
    "random_crop",
    "random_flip",
    "sgd",
    "train",
    "training",
]
