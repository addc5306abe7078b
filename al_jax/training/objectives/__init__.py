"""What may be minimised beside the likelihood's loss: unlabelled rows, virtual rows. One method a file."""

from al_jax.training.objectives.consistency import consistency
from al_jax.training.objectives.entropy_minimisation import entropy_minimisation
from al_jax.training.objectives.fixmatch import fixmatch
from al_jax.training.objectives.mixup import mixup
from al_jax.training.objectives.pseudo_labels import pseudo_labels

__all__ = ["consistency", "entropy_minimisation", "fixmatch", "mixup", "pseudo_labels"]
