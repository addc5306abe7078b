"""An exact sample of a determinantal point process of fixed size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from al_jax.types import PRNGKey


def sample_k_dpp(
    key: PRNGKey, kernel: Float[Array, "m m"], available: Bool[Array, " m"], size: int
) -> Int[Array, " size"]:
    """`size` distinct rows S, drawn with probability proportional to det(kernel_S) (Kulesza & Taskar 2011, alg. 1).

    Eigenvectors are chosen by elementary symmetric polynomials, in logarithms, then rows one by one. The kernel must be
    symmetric and positive semidefinite, and 0 where a row is not available; eigenvalues below 1e-7 of the largest count
    as that, so that there are always `size` rows: unavailable ones once no other is left. O(m^3) once.
    """
    m = len(kernel)
    values, vectors = jnp.linalg.eigh(kernel)
    logs = jnp.log(jnp.maximum(values, 1e-7 * jnp.maximum(values[-1], 1e-30)))

    # log e_l of the first n eigenvalues, for l = 0 .. size.
    def add(before: Array, log_value: Array) -> tuple[Array, Array]:
        after = before.at[1:].set(jnp.logaddexp(before[1:], before[:-1] + log_value))
        return after, before

    empty = jnp.full(size + 1, -jnp.inf).at[0].set(0.0)
    whole, before = jax.lax.scan(add, empty, logs)
    vector_key, row_key = jax.random.split(key)

    def take(carry: tuple[Array, Array], n: Array) -> tuple[tuple[Array, Array], Array]:
        left, after = carry
        share = jnp.exp(logs[n] + before[n, jnp.maximum(left - 1, 0)] - after[left])
        taken = (left > 0) & (jax.random.uniform(jax.random.fold_in(vector_key, n)) < share)
        return (left - taken, before[n]), taken

    start = jnp.asarray(size, jnp.int32), whole
    _, taken = jax.lax.scan(take, start, jnp.arange(m), reverse=True)
    basis = vectors[:, jnp.argsort(~taken, stable=True)[:size]]

    def row(carry: tuple[Array, Array], step: Array) -> tuple[tuple[Array, Array], Array]:
        basis, free = carry
        weights = jnp.log(jnp.maximum(jnp.sum(basis * basis, axis=1), 1e-30))
        logits = jnp.where(free, jnp.where(available, weights, -1e4), -jnp.inf)
        chosen = jax.random.categorical(jax.random.fold_in(row_key, step), logits)
        along = basis[chosen] / jnp.maximum(jnp.linalg.norm(basis[chosen]), 1e-20)
        left = basis - jnp.matmul(basis, along, precision="highest")[:, None] * along
        return (left, free.at[chosen].set(False)), chosen

    _, rows = jax.lax.scan(row, (basis, jnp.ones(m, bool)), jnp.arange(size))
    return rows
