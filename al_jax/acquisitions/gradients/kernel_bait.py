"""Kernel BAIT: rows after which the pool's predictive variances are smallest on average."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.features.k_means import vectors
from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.representations import Name, known_rows, of_labelled, summarised
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


@memoised
def kernel_bait(representation: Name = "features", noise: float = 1e-3) -> Acquisition:
    """Greedily lower the mean Gaussian-process variance of available rows (Holzmueller et al. 2023, BAIT-F-TP).

    The process has the linear kernel of the representation, and noisy values at labelled and chosen rows; each pick
    lowers the sum of variances most, by sum_u cov(u, s)^2 / (var(s) + noise). `noise` is relative to the mean |row|^2
    of the available rows. `Acquired.scores` are these sums over their number. All rows 0: the batch is random.

    Memory: three arrays like the rows and [D, D]; O(N D) a pick after O((N + M) D^2) once. ValueError for "gradients",
    which are no vectors here, unless noise is positive, and when the network names no features.
    """
    of = vectors(representation)
    if not 0 < noise < float("inf"):
        raise ValueError(f"noise={noise}: expected a positive, finite number")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, ((rows,), free) = shuffled(key, (summary, available))
        (known,), labelled = known_rows(round)
        known, counted = jnp.where(labelled[:, None], known, 0.0), free.astype(rows.dtype)
        mean = jnp.sum(jnp.sum(rows * rows, axis=1) * counted) / jnp.maximum(counted.sum(), 1.0)
        variance = jnp.where(mean > 0, noise * mean, 1.0)
        share = counted / jnp.maximum(counted.sum(), 1.0)

        def times(a: Array, b: Array) -> Array:
            return jnp.matmul(a, b, precision="highest")

        fisher = times(rows.T * share, rows)  # [D, D], of the rows whose variances count
        precision = jnp.eye(rows.shape[1]) + times(known.T, known) / variance
        factor = jnp.linalg.cholesky(precision)
        left = jax.scipy.linalg.cho_solve((factor, True), rows.T).T  # rows times the weights' covariance
        start = left, jnp.sum(rows * left, axis=1), jnp.sum(times(left, fisher) * left, axis=1)

        def values(state: Any, _: Array) -> Float[Array, " n"]:
            _, own, with_all = state
            return with_all / (own + variance)

        def updated(state: Any, row: Array) -> Any:
            left, own, with_all = state
            column, scale = left[row], own[row] + variance
            cov = times(rows, column)  # of all rows with the new one
            pulled = times(fisher, column)
            with_all += jnp.square(cov / scale) * times(column, pulled) - 2.0 * cov / scale * times(left, pulled)
            own = jnp.maximum(own - cov * cov / scale, 0.0)
            return left - cov[:, None] / scale * column, own, jnp.maximum(with_all, 0.0)

        picked = pick_one_by_one(start, values, updated, free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(of), select, of_labelled(of))
