"""Laplace's approximation for the last layer of a trained network."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.mesh import one_by_one_on_cpu
from al_jax.models.forward import Outputs
from al_jax.models.last_layer import Path, forward_split, head, last_layer, replaced, stacked
from al_jax.posteriors.curvature import (
    Curvature,
    Rows,
    Structure,
    WeightGaussian,
    at_edge,
    fit_gaussian,
    whitened,
)
from al_jax.posteriors.point import point
from al_jax.sweep import if_swept, known
from al_jax.training import Training
from al_jax.types import Data, Inputs, Labelled, Likelihood, Posterior, Predictions, PRNGKey


class State(NamedTuple):
    """The network, with the mode in its last layer, and the Gaussian over that layer's weights."""

    params: Any
    gaussian: WeightGaussian


@memoised
def laplace(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    *,
    structure: Structure = "kron",
    prior_precision: float | None = None,
) -> Posterior:
    """Train the network, then N(mode, (Gauss-Newton matrix + prior precision)^-1) over its last layer.

    MacKay 1992; Daxberger et al. 2021. Draws are weights of the last layer on the trained features, so that each is one
    function; `point` is the mode. Given the features it is exact for Gaussian noise.

    Args:
      module: a network that ends in `flax.linen.Dense`; trained as by `point`, predicting without dropout.
      structure: of the Gauss-Newton matrix over the D x C weights: `full` takes (D C)^2 floats and an eigenvalue
        problem of that size, `kron` those of D^2 and C^2, `diag` D C.
      prior_precision: of the N(0, 1 / precision) prior over the last layer's weights, biases included; None maximises
        the marginal likelihood over 1e-3 to 1e3 in every fit.

    `fit` reports `log_evidence` in nats, `prior_precision` and `prior_at_edge`: whether it was sought and is one of the
    two limits. A Gauss-Newton matrix that is not positive definite (of a likelihood that is not convex in the outputs)
    makes `finite` False, which stops that seed of a campaign. `init` raises ValueError when the network does not end in
    a dense layer, the constructor for a wrong argument.
    """
    if likelihood.outputs not in (None, 1):
        raise ValueError("likelihood: expected one that is convex in the outputs, and noise learned row by row is not")
    if structure not in ("full", "kron", "diag"):
        raise ValueError(f"structure={structure!r}: expected 'full', 'kron' or 'diag'")
    if prior_precision is not None and known(prior_precision) and not prior_precision > 0:
        raise ValueError(f"prior_precision={prior_precision}: expected a positive number or None")
    network = point(module, likelihood, training)

    def init(key: PRNGKey, x: Inputs) -> State:
        params = network.init(key, x)
        weights = stacked(params, last_layer(module, params, x))
        rows, columns = weights.shape
        sides = {"full": (rows * columns,), "kron": (rows, columns), "diag": ()}[structure]
        flat = Curvature(jnp.zeros_like(weights), tuple(jnp.eye(side) for side in sides))
        return State(
            params, WeightGaussian(weights, flat, jnp.asarray(1.0 if prior_precision is None else prior_precision))
        )

    @one_by_one_on_cpu
    def approximated(rows: Any, start: Array, swept: Any) -> tuple[WeightGaussian, Array]:
        return fit_gaussian(likelihood, rows, start, structure, prior_precision if swept is None else swept)

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        params, info = network.fit(key, state.params, data)
        path, rows = last_rows(module, params, data.labelled)
        gaussian, evidence = approximated(rows, stacked(params, path), if_swept(prior_precision))
        some = data.labelled.count > 0
        fitted = State(replaced(params, path, gaussian.mode), gaussian)
        kept = jax.tree.map(lambda new, old: jnp.where(some, new, old), fitted, state)
        eigenvalues = gaussian.curvature.eigenvalues  # NaN where the matrix is not positive definite
        return kept, info | {
            "log_evidence": jnp.where(some, evidence, 0.0),
            "prior_precision": kept.gaussian.precision,
            "prior_at_edge": at_edge(gaussian.precision, prior_precision, data.labelled.count),
            "finite": info["finite"] & (jnp.isfinite(evidence + eigenvalues.sum()) | ~some),
        }

    def sample(key: PRNGKey, state: State, num_samples: int) -> Float[Array, "K D C"]:
        noise = jax.random.normal(key, (num_samples, *state.gaussian.mode.shape))
        return jax.vmap(whitened, in_axes=(None, 0))(state.gaussian, noise)

    def predict(state: State, draws: Float[Array, "K D C"], x: Inputs) -> Predictions:
        return predict_last(module, likelihood, state.params, draws, x)

    def of_mode(state: State, x: Inputs, features: Array) -> Array:
        return head(module, state.params, x, features)

    return Posterior(init, fit, sample, predict, of_mode)


def last_rows(module: nn.Module, params: Any, labelled: Labelled) -> tuple[Path, Rows]:
    """The labelled buffer as the network's last layer sees it. Padding becomes copies of the first row of weight 0."""
    places = jnp.arange(len(labelled.rows))
    known = places < labelled.count
    rows = jnp.where(known, places, 0)
    inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], labelled.inputs)
    with jax.default_matmul_precision("highest"):
        split = forward_split(module, params, inputs)
    labels, weights = (jnp.asarray(column)[rows] for column in (labelled.labels, labelled.weights))
    return last_layer(module, params, inputs), Rows(split.inputs, labels, jnp.where(known, weights, 0.0))


def predict_last(
    module: nn.Module, likelihood: Likelihood, params: Any, draws: Float[Array, "K D C"], x: Inputs
) -> Predictions:
    """Predictions of the network for `x [n, ...]` with each of `draws` as its last layer; `point` is the network's."""
    outputs: Outputs
    outputs, inputs = forward_split(module, params, x)
    return likelihood.predictions(jnp.einsum("nd,kdc->nkc", inputs, draws), *outputs)
