"""The posterior of a linear layer on fixed features: its mode, its curvature there, its marginal likelihood.

Outputs are `features [n, D] @ weights [D, C]`, the prior is N(0, 1 / precision) for every weight, and the negative log
likelihood of a row is `Likelihood.loss`. For a loss that is convex in the outputs the posterior has one mode, and the
generalised Gauss-Newton matrix is the Hessian. All of it multiplies in full precision.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int

from al_jax.types import Likelihood

Structure = Literal["full", "kron", "diag"]
NEWTON_STEPS = 12
CG_STEPS = 60
STEP_SIZES = 0.5 ** np.arange(8, dtype=np.float32)
LOG10_PRECISIONS = (-3.0, 3.0)
EDGE = 0.02  # of the exponent
GOLDEN = (5**0.5 - 1) / 2
NARROWINGS = 14  # each to GOLDEN of the interval: 6 decades become 0.007
NEGATIVE = 1e-4  # eigenvalues down to -NEGATIVE times the largest are rounding, and count as 0


class Rows(NamedTuple):
    """Labelled rows as the last layer sees them; padding has weight 0."""

    features: Float[Array, "m D"]
    labels: Array
    weights: Float[Array, " m"]


class Curvature(NamedTuple):
    """A positive semi-definite matrix over weights [D, C], diagonal in an orthogonal basis.

    `basis` is () for the weights themselves, (left [D, D], right [C, C]) for a Kronecker product, (all [DC, DC],) for
    a full matrix.
    """

    eigenvalues: Float[Array, "D C"]
    basis: tuple[Array, ...]


class WeightGaussian(NamedTuple):
    """N(mode, (curvature + precision)^-1) over weights [D, C]."""

    mode: Float[Array, "D C"]
    curvature: Curvature
    precision: Float[Array, ""]


def rotated(curvature: Curvature, coordinates: Float[Array, "D C"], inverse: bool = False) -> Float[Array, "D C"]:
    """Weights that have these coordinates in the basis, or the coordinates of these weights (`inverse`)."""
    basis = tuple(part.T for part in curvature.basis) if inverse else curvature.basis
    if not basis:
        return coordinates
    with jax.default_matmul_precision("highest"):
        if len(basis) == 1:
            return (basis[0] @ coordinates.reshape(-1)).reshape(coordinates.shape)
        return basis[0] @ coordinates @ basis[1].T


def whitened(gaussian: WeightGaussian, noise: Float[Array, "D C"]) -> Float[Array, "D C"]:
    """The weights that standard normal `noise` stands for: mode + covariance^(1/2) noise.

    The symmetric root is a smooth function of the matrix. Its eigenvectors are not, where eigenvalues agree, as with
    fewer rows than features: without the rotation of `noise` a rounding error would give other draws altogether.
    """
    scale = jax.lax.rsqrt(gaussian.curvature.eigenvalues + gaussian.precision)
    return gaussian.mode + rotated(gaussian.curvature, scale * rotated(gaussian.curvature, noise, inverse=True))


def negative_log_likelihood(likelihood: Likelihood, rows: Rows, weights: Float[Array, "D C"]) -> Float[Array, ""]:
    """Sum over the labelled rows, in the likelihood's units (nats)."""
    losses = likelihood.loss(jnp.matmul(rows.features, weights, precision="highest"), rows.labels)
    return jnp.sum(jnp.where(rows.weights > 0, losses * rows.weights, 0.0))


def output_hessians(likelihood: Likelihood, rows: Rows, weights: Float[Array, "D C"]) -> Float[Array, "m C C"]:
    """Second derivatives of every row's weighted loss in its outputs."""

    def loss(output: Array, label: Array) -> Array:
        return likelihood.loss(output[None], label[None])[0]

    outputs = jnp.matmul(rows.features, weights, precision="highest")
    hessians = jax.vmap(jax.hessian(loss))(outputs, rows.labels)
    return jnp.where(rows.weights[:, None, None] > 0, hessians * rows.weights[:, None, None], 0.0)


def find_mode(likelihood: Likelihood, rows: Rows, precision: Array, start: Float[Array, "D C"]) -> Float[Array, "D C"]:
    """Newton's method, its steps solved by conjugate gradients with the Gauss-Newton matrix and shortened as needed."""

    def objective(weights: Array) -> Array:
        return negative_log_likelihood(likelihood, rows, weights) + 0.5 * precision * jnp.sum(jnp.square(weights))

    def going(carry: Any) -> Array:
        steps, _, value, before = carry
        return (steps < NEWTON_STEPS) & (before - value > 1e-6 * jnp.abs(value))

    def step(carry: Any) -> Any:
        steps, weights, value, _ = carry
        hessians = output_hessians(likelihood, rows, weights)

        def product(direction: Array) -> Array:
            of_outputs = jnp.einsum("mcd,md->mc", hessians, rows.features @ direction)
            return rows.features.T @ of_outputs + precision * direction

        direction, _ = cg(product, jax.grad(objective)(weights), maxiter=CG_STEPS)
        values = jax.vmap(lambda size: objective(weights - size * direction))(jnp.asarray(STEP_SIZES))
        best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
        better = values[best] < value
        moved = jnp.where(better, weights - 0.5**best * direction, weights)
        return steps + 1, moved, jnp.where(better, values[best], value), value

    with jax.default_matmul_precision("highest"):
        first = jnp.zeros((), jnp.int32), start, objective(start), jnp.asarray(jnp.inf)
        return jax.lax.while_loop(going, step, first)[1]


def gauss_newton(likelihood: Likelihood, rows: Rows, weights: Float[Array, "D C"], structure: Structure) -> Any:
    """The generalised Gauss-Newton matrix sum_n (f_n f_n') x H_n of the negative log likelihood, or its approximation.

    Weight (d, c) is number d * C + c of the full matrix [DC, DC]. `kron` returns the factors sum_n w_n f_n f_n' [D, D]
    and the mean of the H_n [C, C] (Martens & Grosse 2015; Botev et al. 2017), `diag` the diagonal as [D, C].
    """
    hessians, features = output_hessians(likelihood, rows, weights), rows.features
    if structure == "diag":
        return jnp.einsum("md,mcc->dc", jnp.square(features), hessians, precision="highest")
    if structure == "kron":
        left = jnp.einsum("m,md,me->de", rows.weights, features, features, precision="highest")
        return left, hessians.sum(0) / jnp.maximum(rows.weights.sum(), 1e-12)
    size = weights.size
    full = jnp.einsum("md,me,mab->daeb", features, features, hessians, precision="highest")
    return full.reshape(size, size)


def diagonalised(matrix: Any, shape: tuple[int, ...]) -> Curvature:
    """The eigenvalues and basis of what `gauss_newton` returns for weights of this shape.

    Eigenvalues are NaN where the matrix is not positive semi-definite, up to rounding.
    """

    def checked(eigenvalues: Array) -> Array:
        allowed = eigenvalues >= -NEGATIVE * jnp.max(jnp.abs(eigenvalues))
        return jnp.where(allowed, jnp.maximum(eigenvalues, 0.0), jnp.nan)

    with jax.default_matmul_precision("highest"):
        if isinstance(matrix, tuple):
            (left, left_basis), (right, right_basis) = (jnp.linalg.eigh(factor) for factor in matrix)
            return Curvature(jnp.outer(checked(left), checked(right)), (left_basis, right_basis))
        if matrix.shape == shape:
            return Curvature(checked(matrix), ())
        eigenvalues, basis = jnp.linalg.eigh(matrix)
        return Curvature(checked(eigenvalues).reshape(shape), (basis,))


def log_evidence(
    likelihood: Likelihood, rows: Rows, mode: Float[Array, "D C"], precision: Array, structure: Structure
) -> Float[Array, ""]:
    """Laplace's log marginal likelihood (MacKay 1992), given the mode for this precision; exact for Gaussian noise."""
    loss = negative_log_likelihood(likelihood, rows, mode) + 0.5 * precision * jnp.sum(jnp.square(mode))
    matrix = gauss_newton(likelihood, rows, mode, structure)
    if structure == "full":  # far cheaper than eigenvalues
        factor = jnp.linalg.cholesky(matrix / precision + jnp.eye(mode.size))
        return -loss - jnp.sum(jnp.log(jnp.diagonal(factor)))
    return -loss - 0.5 * jnp.sum(jnp.log1p(diagonalised(matrix, mode.shape).eigenvalues / precision))


def at_edge(found: Float[Array, ""], given: float | None, count: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether the precision that `fit_gaussian` sought, on `count` rows, is an end of its range, to its accuracy."""
    exponent = jnp.log10(found)
    sought = (count > 0) & (given is None)
    return sought & ((exponent < LOG10_PRECISIONS[0] + EDGE) | (exponent > LOG10_PRECISIONS[1] - EDGE))


def fit_gaussian(
    likelihood: Likelihood,
    rows: Rows,
    start: Float[Array, "D C"],
    structure: Structure,
    precision: float | Array | None,
) -> tuple[WeightGaussian, Float[Array, ""]]:
    """Laplace's approximation and its log evidence; `precision` None is the prior's best from 1e-3 to 1e3, to 2 %."""

    def at(exponent: Array, start: Array) -> tuple[Array, Array]:
        mode = find_mode(likelihood, rows, 10.0**exponent, start)
        return mode, log_evidence(likelihood, rows, mode, 10.0**exponent, structure)

    def narrow(_: int | Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, best, highest, mode = carry  # `best` divides the interval by the golden section
        other = low + high - best
        mode, value = at(other, mode)
        better = value > highest
        best, edge = jnp.where(better, other, best), jnp.where(better, best, other)
        low, high = jnp.where(edge < best, edge, low), jnp.where(edge > best, edge, high)
        return low, high, best, jnp.where(better, value, highest), mode

    low, high = (jnp.asarray(limit) for limit in LOG10_PRECISIONS)
    if precision is None:
        first = low + GOLDEN * (high - low)
        mode, value = at(first, start)
        best, mode = jax.lax.fori_loop(0, NARROWINGS, narrow, (low, high, first, value, mode))[2::2]
    else:
        best, mode = jnp.log10(jnp.asarray(precision, start.dtype)), start
    mode, evidence = at(best, mode)
    curvature = diagonalised(gauss_newton(likelihood, rows, mode, structure), mode.shape)
    return WeightGaussian(mode, curvature, 10.0**best), evidence
