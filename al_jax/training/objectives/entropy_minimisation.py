"""Entropy minimisation: decision boundaries move away from unlabelled rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.information import entropy
from al_jax.memo import memoised
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
from al_jax.types import PRNGKey


@memoised
def entropy_minimisation(weight: float = 0.1, ratio: int = 1) -> Objective:
    """Supervised loss + weight * mean entropy for unlabelled rows, in nats (Grandvalet & Bengio 2005).

    Args:
      weight: of the entropy.
      ratio: unlabelled rows for each labelled one of a minibatch.

    `fit` reports `unlabelled_loss`. Classes only. ValueError for a negative weight or a ratio below 1.
    """
    check_unlabelled("entropy_minimisation", weight=weight, ratio=ratio)

    def loss(
        key: PRNGKey,
        apply: Apply,
        params: Params,
        labelled: Minibatch,
        unlabelled: Minibatch,
        progress: Array,
        memory: None,
    ) -> tuple[Array, Report]:
        check_classes("entropy_minimisation", apply)
        outputs = apply(params, jax.random.fold_in(key, 1), unlabelled.inputs)
        uncertain = unlabelled.mean(entropy(jax.nn.log_softmax(outputs)))
        total = supervised_loss(key, apply, params, labelled) + weight * uncertain
        return total, {"unlabelled_loss": jnp.asarray(uncertain)}

    return Objective(loss, ratio)
