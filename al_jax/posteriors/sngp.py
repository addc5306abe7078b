"""SNGP: a network whose layers cannot crush distances, and a Gaussian process on its features."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.models.forward import Outputs, features_of, forward, forward_rows, in_dtype, init_params
from al_jax.posteriors.point import point_metrics
from al_jax.sweep import known
from al_jax.training import Apply, Training, train
from al_jax.types import Data, Inputs, Labelled, Likelihood, Posterior, Predictions, PRNGKey

ITERATIONS = 5
"""Power iterations for a spectral norm, from the same start in every step."""


class Params(NamedTuple):
    """What is trained: the network, and the weights of the random features."""

    network: Any
    weights: Float[Array, "M C"]


class State(NamedTuple):
    """Parameters, the random features, and a Cholesky factor of each output's posterior precision."""

    params: Params
    frequencies: Float[Array, "D M"]
    phases: Float[Array, " M"]
    factor: Float[Array, "C M M"]


def spectral_norm(matrix: Float[Array, "i o"]) -> Float[Array, ""]:
    """The largest singular value, or a little less, by power iteration; its gradient is that of u^T matrix v."""
    fixed = jax.lax.stop_gradient(matrix)
    v = jnp.ones(matrix.shape[1]) / jnp.sqrt(matrix.shape[1])
    u = jnp.zeros(matrix.shape[0])
    for _ in range(ITERATIONS):
        u = _unit(jnp.matmul(fixed, v, precision="highest"))
        v = _unit(jnp.matmul(u, fixed, precision="highest"))
    return u @ matrix @ v


def _unit(vector: Float[Array, " d"]) -> Float[Array, " d"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)


def normalised(params: Any, bound: float | Array) -> Any:
    """The parameters with every kernel's spectral norm at most `bound`; of a convolution that of [h w i, o]."""

    def of_leaf(leaf: Array) -> Array:
        if leaf.ndim < 2:
            return leaf
        return leaf * jnp.minimum(1.0, bound / jnp.maximum(spectral_norm(leaf.reshape(-1, leaf.shape[-1])), 1e-12))

    return jax.tree.map(of_leaf, params)


@memoised
def sngp(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    *,
    random_features: int = 256,
    length_scale: float = 1.0,
    bound: float = 0.95,
    prior_precision: float = 1.0,
) -> Posterior:
    """Spectral-normalised neural Gaussian process (Liu et al. 2020): one network that knows how far a row is.

    The last layer is a Gaussian process with an RBF kernel on the network's features h, by random Fourier features
    phi = sqrt(2 / M) cos(h W / length_scale + b) with weights of prior N(0, 1 / prior_precision); the network's own
    last layer is not used. After training, the weights' posterior is Laplace's, each output for itself (eq. 9): its
    precision is prior_precision + the sum over labelled rows of the loss's second derivative times phi phi^T. A draw is
    one function.

    Distances are kept from above by `bound`, and from below only in residual networks.

    Args:
      module: any Flax module that names its features; dropout is used while training and off while predicting.
      likelihood: convex in the outputs: classes, or a Gaussian of known noise.
      training: budget, optimiser, penalty, early stopping, objective.
      random_features: M; the posterior takes C M^2 floats, and C Cholesky decompositions a fit.
      length_scale: of the kernel, in the units of the features.
      bound: of every kernel's spectral norm, in training and predicting.
      prior_precision: of the weights, also in training, where |weights|^2 / 2 is added over the number of labels.

    ValueError for noise learned row by row, numbers that are not positive, and a network without features.
    """
    if likelihood.outputs not in (None, 1):
        raise ValueError("likelihood: expected one that is convex in the outputs, and noise learned row by row is not")
    numbers = {"length_scale": length_scale, "bound": bound, "prior_precision": prior_precision}
    for name, value in {"random_features": random_features, **numbers}.items():
        if known(value) and not 0 < value < float("inf"):
            raise ValueError(f"{name}={value}: expected a positive number")
    trained = in_dtype(module, training.dtype)

    def init(key: PRNGKey, x: Inputs) -> State:
        keys = jax.random.split(jax.random.fold_in(key, 1), 3)
        network = init_params(module, key, x)
        outputs = jax.eval_shape(lambda p: forward(module, p, x), network)
        width, classes = features_of(outputs, module).shape[1], likelihood.outputs or outputs.logits.shape[-1]
        weights = jax.random.normal(keys[0], (random_features, classes)) / jnp.sqrt(prior_precision)
        frequencies = jax.random.normal(keys[1], (width, random_features))
        phases = jax.random.uniform(keys[2], (random_features,), maxval=2 * jnp.pi)
        factor = jnp.sqrt(prior_precision) * jnp.eye(random_features)
        return State(Params(network, weights), frequencies, phases, jnp.tile(factor, (classes, 1, 1)))

    def lifted(state: State, h: Float[Array, "n D"]) -> Float[Array, "n M"]:
        angles = jnp.matmul(h.astype(jnp.float32) / length_scale, state.frequencies) + state.phases
        return jnp.sqrt(2.0 / random_features) * jnp.cos(angles)

    def deterministic(state: State, x: Inputs) -> Outputs:
        return forward_rows(module, normalised(state.params.network, bound), x)

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        def outputs(params: Params, key: PRNGKey | None, x: Inputs) -> Array:
            rngs = None if key is None else {"dropout": key}
            found = forward(trained, normalised(params.network, bound), x, rngs)
            return lifted(state, features_of(found, module)) @ params.weights

        def penalty(params: Params, count: Array) -> Array:
            own = 0.0 if training.penalty is None else training.penalty(params, count)
            return own + 0.5 * prior_precision * jnp.square(params.weights).sum() / jnp.maximum(count, 1)

        def of_point(params: Params, draws: None, x: Inputs) -> Predictions:
            return predict(state._replace(params=params), params.weights[None], x)

        how = dataclasses.replace(training, penalty=penalty)
        params, info = train(
            key, state.params, data, how, Apply(outputs, likelihood), point_metrics(of_point, likelihood)
        )
        fitted = state._replace(params=params)
        factor = precision_factor(fitted, data.labelled)
        return fitted._replace(factor=jnp.where(data.labelled.count > 0, factor, state.factor)), info

    def precision_factor(state: State, labelled: Labelled) -> Float[Array, "C M M"]:
        places = jnp.arange(len(labelled.rows))
        known_rows = places < labelled.count
        rows = jnp.where(known_rows, places, 0)
        inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], labelled.inputs)
        labels, weights = (jnp.asarray(column)[rows] for column in (labelled.labels, labelled.weights))
        with jax.default_matmul_precision("highest"):
            phi = lifted(state, features_of(deterministic(state, inputs), module))

            def curvature(outputs: Array, label: Array) -> Array:
                return jnp.diag(jax.hessian(lambda o: likelihood.loss(o[None], label[None])[0])(outputs))

            second = (
                jax.vmap(curvature)(phi @ state.params.weights, labels) * jnp.where(known_rows, weights, 0.0)[:, None]
            )
            data_part = jnp.einsum("nc,ni,nj->cij", second, phi, phi, optimize="optimal")
        return jnp.linalg.cholesky(data_part + prior_precision * jnp.eye(random_features))

    def sample(key: PRNGKey, state: State, num_samples: int) -> Float[Array, "K M C"]:
        noise = jax.random.normal(key, (state.factor.shape[0], random_features, num_samples))
        apart = jax.vmap(lambda factor, e: solve_triangular(factor, e, lower=True, trans=1))(state.factor, noise)
        return state.params.weights + jnp.moveaxis(apart, -1, 0).swapaxes(1, 2)

    def predict(state: State, draws: Float[Array, "K M C"], x: Inputs) -> Predictions:
        _, features, extras = found = deterministic(state, x)
        phi = lifted(state, features_of(found, module))
        outputs = jnp.einsum("nm,kmc->nkc", phi, draws)
        return likelihood.predictions(outputs, phi @ state.params.weights, features, extras)

    def head(state: State, x: Inputs, features: Array) -> Array:
        return lifted(state, features) @ state.params.weights

    return Posterior(init, fit, sample, predict, head)
