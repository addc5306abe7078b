"""The selector that makes a kernel matrix's determinant large: pivoted Cholesky."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.acquisitions.toolbox.greedy import Picked, pick_one_by_one
from al_jax.acquisitions.toolbox.representations import Factors
from al_jax.acquisitions.toolbox.similarities import inner_products, squared_norms


class Residuals(NamedTuple):
    """What is left of every row's variance, and the columns of the Cholesky factor so far, a row of this array each."""

    variances: Float[Array, " n"]
    columns: Float[Array, "B n"]
    added: Int[Array, ""]


def explained(rows: Factors, known: Factors, valid: Bool[Array, " M"], noise: Array | float) -> Float[Array, "n M"]:
    """E such that <row, row'> - <E, E'> is the covariance of a Gaussian process after noisy values at the valid rows.

    k(x, L) (k(L, L) + noise I)^-1 k(L, x') = E E'^T; one Cholesky factor of [M, M].
    """
    both = valid[:, None] & valid[None, :]
    gram = jnp.where(both, inner_products(known, known), 0.0) + jnp.diag(jnp.where(valid, noise, 1.0))
    cross = jnp.where(valid, inner_products(rows, known), 0.0)
    factor = jnp.linalg.cholesky(gram)
    return jax.scipy.linalg.solve_triangular(factor, cross.T, lower=True).T


def max_det(
    rows: Factors, explained: Float[Array, "n M"], noise: Array, available: Bool[Array, " n"], batch_size: int
) -> Picked:
    """Greedily maximise det(K + noise I) of the batch, K the kernel that is left after what is `explained`.

    Values are the variances at which rows were picked. O(N (D + M + B)) a pick, memory [B, N] and [N, M].
    """

    def updated(state: Residuals, row: Array) -> Residuals:
        return conditioned(state, rows, explained, noise, row)

    start = residuals(rows, explained, batch_size)
    return pick_one_by_one(start, lambda state, _: state.variances, updated, available, batch_size)


def residuals(rows: Factors, explained: Float[Array, "n M"], batch_size: int) -> Residuals:
    """Before a row is chosen."""
    variances = jnp.maximum(squared_norms(rows) - jnp.sum(explained * explained, axis=1), 0.0)
    return Residuals(variances, jnp.zeros((batch_size, len(variances))), jnp.zeros((), jnp.int32))


def conditioned(
    state: Residuals, rows: Factors, explained: Float[Array, "n M"], noise: Array | float, row: Int[Array, ""]
) -> Residuals:
    """After a noisy value at one more row."""
    one = tuple(factor[row][None] for factor in rows)
    column = inner_products(rows, one)[:, 0] - jnp.matmul(explained, explained[row], precision="highest")
    column -= jnp.matmul(state.columns[:, row], state.columns, precision="highest")
    column /= jnp.sqrt(state.variances[row] + noise)
    left = jnp.maximum(state.variances - column * column, 0.0)
    return Residuals(left, state.columns.at[state.added].set(column), state.added + 1)
