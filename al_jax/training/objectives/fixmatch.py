"""FixMatch: a weakly changed row labels the strongly changed one, where the network is sure."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.training.augmentation import Augmentation
from al_jax.training.objective import (
    Apply,
    Minibatch,
    Objective,
    Params,
    Report,
    check_classes,
    check_unlabelled,
    supervised_loss,
)
from al_jax.training.rand_augment import strong_change, weak_change
from al_jax.types import PRNGKey


@memoised
def fixmatch(
    threshold: float = 0.95,
    weight: float = 1.0,
    ratio: int = 7,
    weak: Augmentation | None = None,
    strong: Augmentation | None = None,
) -> Objective:
    """Sohn et al. 2020, eqs. 3 and 4: cross entropy of strongly changed rows with the weakly changed ones' classes.

    Only rows whose largest probability is at least `threshold` count, and the mean is over all. The weak pass, which
    gives the classes, has no dropout noise. Labelled rows are changed weakly, too, as in the paper.

    Args:
      threshold: the smallest probability that is sure.
      weight: of the unlabelled rows' loss.
      ratio: unlabelled rows for each labelled one of a minibatch.
      weak: change that keeps the class; by default small shifts of images, a little noise on vectors.
      strong: by default `rand_augment` and `cutout` on images, noise and `feature_dropout` on vectors.

    `fit` reports the share of sure rows, `confident`. Classes only. ValueError for a negative weight, a ratio below 1
    or a threshold outside [0, 1].
    """
    check_unlabelled("fixmatch", threshold=threshold, weight=weight, ratio=ratio)

    def loss(
        key: PRNGKey,
        apply: Apply,
        params: Params,
        labelled: Minibatch,
        unlabelled: Minibatch,
        progress: Array,
        memory: None,
    ) -> tuple[Array, Report]:
        check_classes("fixmatch", apply)
        of_labelled, of_weak, of_strong, of_network = (jax.random.fold_in(key, i) for i in range(1, 5))
        gently, heavily = weak or weak_change(unlabelled.inputs), strong or strong_change(unlabelled.inputs)
        outputs = jax.lax.stop_gradient(apply(params, None, gently(of_weak, unlabelled.inputs)))
        sure = jax.nn.softmax(outputs).max(-1) >= threshold
        changed = apply(params, of_network, heavily(of_strong, unlabelled.inputs))
        losses = apply.likelihood.loss(changed, outputs.argmax(-1))
        of_unlabelled = unlabelled.mean(jnp.where(sure, losses, 0.0))
        labelled = labelled._replace(inputs=gently(of_labelled, labelled.inputs))
        total = supervised_loss(key, apply, params, labelled) + weight * of_unlabelled
        return total, {"confident": unlabelled.mean(sure.astype(jnp.float32))}

    return Objective(loss, ratio)
