"""Mixup: the network is trained on the rows between labelled rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.sweep import is_zero, known
from al_jax.training.objective import Apply, Minibatch, Objective, Params, Report, supervised_loss
from al_jax.types import PRNGKey


@memoised
def mixup(alpha: float = 0.4) -> Objective:
    """Train at l x + (1 - l) x', by l times the loss of x's label and 1 - l times that of x' (Zhang et al. 2018).

    l ~ Beta(alpha, alpha), one a minibatch. Partners are the minibatch in random order. With alpha = 0 nothing is
    mixed. Inputs must be numbers that can be averaged: floats, or 8-bit images. ValueError for tokens and for a
    negative alpha.
    """
    if known(alpha) and not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: expected a finite number, 0 or more")

    def loss(
        key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
    ) -> tuple[Array, Report]:
        if is_zero(alpha):
            return supervised_loss(key, apply, params, labelled), {}
        of_order, of_share = jax.random.split(jax.random.fold_in(key, 1))
        # Padding must not be mixed into a row: valid rows come first in a minibatch, and swap among themselves.
        order = jnp.argsort(jnp.where(labelled.valid, jax.random.uniform(of_order, labelled.valid.shape), jnp.inf))
        share = jax.random.beta(of_share, alpha, alpha)

        def mixed(leaf: Array) -> Array:
            if leaf.dtype not in (jnp.uint8, jnp.int8) and not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(f"mixup averages rows, which have {leaf.dtype}: expected floats or 8-bit images")
            values = leaf.astype(jnp.float32)
            return share * values + (1 - share) * values[order]

        outputs = apply(params, key, jax.tree.map(mixed, labelled.inputs))
        partner = labelled._replace(weights=labelled.weights[order])
        one = labelled.mean(apply.likelihood.loss(outputs, labelled.labels))
        other = partner.mean(apply.likelihood.loss(outputs, labelled.labels[order]))
        return share * one + (1 - share) * other, {}

    return Objective(loss)
