"""Training on the labelled buffer, in one compiled loop."""

from al_jax.training.loop import minibatch_rows, train
from al_jax.training.penalty import Params, Penalty, l2
from al_jax.training.settings import Training

__all__ = ["Params", "Penalty", "Training", "l2", "minibatch_rows", "train"]
