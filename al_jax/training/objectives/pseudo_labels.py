"""Pseudo-labels: rows that the network is sure of are trained on as if it were right (CEAL)."""

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
from al_jax.types import Data, PRNGKey


@memoised
def pseudo_labels(threshold: float = 0.05, decay: float = 0.0033, weight: float = 1.0, ratio: int = 1) -> Objective:
    """Unlabelled rows of an entropy below a threshold count with their most probable class (CEAL, Wang et al. 2016).

    The threshold is delta_t = threshold - decay * t nats in round t (the paper's 0.05 and 0.0033), for the network gets
    surer. The paper labels the pool once between two rounds, by last round's network; here every step labels its own
    minibatch by the network as it is then, without noise, so that nothing has to be kept. An oracle's label is never
    changed, and the rows stay in the pool.

    Args:
      threshold: largest entropy in round 0, nats; with 0 nothing is ever labelled.
      decay: by how much it falls a round.
      weight: of the pseudo-labelled rows' loss.
      ratio: unlabelled rows for each labelled one of a minibatch.

    `fit` reports the share of rows that were labelled, `confident`. Classes only. ValueError for negative numbers or a
    ratio below 1.
    """
    check_unlabelled("pseudo_labels", entropy=threshold, decay=decay, weight=weight, ratio=ratio)

    def init(params: Params, data: Data) -> Array:
        return jnp.asarray(threshold - decay * (0 if data.round is None else data.round))

    def loss(
        key: PRNGKey,
        apply: Apply,
        params: Params,
        labelled: Minibatch,
        unlabelled: Minibatch,
        progress: Array,
        largest: Array,
    ) -> tuple[Array, Report]:
        check_classes("pseudo_labels", apply)
        sure = jax.nn.log_softmax(jax.lax.stop_gradient(apply(params, None, unlabelled.inputs)))
        confident = entropy(sure) < largest
        outputs = apply(params, jax.random.fold_in(key, 1), unlabelled.inputs)
        losses = apply.likelihood.loss(outputs, sure.argmax(-1))
        of_unlabelled = unlabelled.mean(jnp.where(confident, losses, 0.0))
        total = supervised_loss(key, apply, params, labelled) + weight * of_unlabelled
        return total, {"confident": unlabelled.mean(confident.astype(jnp.float32))}

    return Objective(loss, ratio, init)
