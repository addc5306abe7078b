"""The mode of a determinantal point process: rows whose kernel matrix has a large determinant."""

import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.greedy import shuffled
from al_jax.acquisitions.toolbox.max_det import explained
from al_jax.acquisitions.toolbox.max_det import max_det as pivoted_cholesky
from al_jax.acquisitions.toolbox.representations import Name, known_rows, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import squared_norms
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def max_det(representation: Name = "gradients", noise: float = 1e-3) -> Acquisition:
    """Greedily maximise log det(K + noise I) of labelled and chosen rows (Holzmueller et al. 2023, MaxDet-TP).

    K is the linear kernel of the representation: each pick is the row of the largest Gaussian-process variance given
    noisy values at all labelled and chosen rows. `noise` is relative to the mean |row|^2 of the available rows.
    `Acquired.scores` are these variances. Memory: [N, M] for M labelled slots and [B, N]; O(N (D + M + B)) a pick. All
    rows 0: the batch is random. Args as of `lcmd`; ValueError as there, and unless noise is positive.
    """
    of = named(representation)
    if not 0 < noise < float("inf"):
        raise ValueError(f"noise={noise}: expected a positive, finite number")

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        known = tuple(jnp.where(labelled[:, None], factor, 0.0) for factor in known)
        norms = squared_norms(rows)
        mean = jnp.sum(jnp.where(free, norms, 0.0)) / jnp.maximum(free.sum(), 1)
        variance = jnp.where(mean > 0, noise * mean, 1.0)
        picked = pivoted_cholesky(rows, explained(rows, known, labelled, variance), variance, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(of), select, of_labelled(of))
