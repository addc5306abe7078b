"""Shrink and perturb: a warm start between rounds that generalises as a fresh one."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.sweep import known
from al_jax.types import Data, Posterior, PRNGKey


@memoised
def shrink_and_perturb(posterior: Posterior, shrink: float = 0.5, noise: float = 0.01) -> Posterior:
    """Every fit starts from shrink * last round's parameters + noise * fresh ones (Ash & Adams 2020, Algorithm 1).

    It needs a campaign with `warm_start=True`, which hands last round's parameters on: without, they are fresh ones.
    The first round starts from fresh parameters. The noise is a network's own initial distribution, as in the authors'
    code, so that shrink = 0 and noise = 1 is a fresh start.

    Args:
      posterior: one whose state is a network's parameters: `point`, `mc_dropout`, ensembles of them.
      shrink: share of last round's parameters.
      noise: share of fresh ones.

    ValueError for numbers outside [0, 1].
    """
    for name, value in (("shrink", shrink), ("noise", noise)):
        if known(value) and not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: expected a share, 0 to 1")

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        row = jax.tree.map(lambda leaf: leaf[:1], data.labelled.inputs)
        fresh = posterior.init(jax.random.fold_in(key, 1), row)
        first = jnp.zeros((), bool) if data.round is None else data.round == 0
        kept = first | (data.labelled.count == 0)

        def started(last: Array, new: Array) -> Array:
            return jnp.where(kept, last, shrink * last + noise * new)

        return posterior.fit(key, jax.tree.map(started, state, fresh), data)

    return posterior._replace(fit=fit)
