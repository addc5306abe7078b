"""Walks whose path is a sample: SGLD and cyclical SGHMC against the exact posterior of a linear regression."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs

from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP
from al_jax.posteriors import cyclical_sghmc, point, sgld, snapshot_ensemble
from al_jax.training import Training, adam
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)
NOISE, PRIOR, N, SLOTS = 0.5, 1.0, 24, 31  # a minibatch that the rows do not divide


class Linear(nn.Module):
    """x w, without a bias: what is known in closed form."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1, use_bias=False)(x)


def regression():
    """24 rows of three correlated columns, and the exact mean and covariance of w."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.8]])
    y = x @ np.array([1.0, -0.5, 0.3]) + NOISE * generator.normal(size=N)
    precision = x.T @ x / NOISE**2 + np.eye(3) / PRIOR**2
    covariance = np.linalg.inv(precision)
    rows = (jnp.asarray(array, jnp.float32) for array in (x, y))
    padded: tuple = tuple(jnp.concatenate([a, jnp.full((SLOTS - N, *a.shape[1:]), jnp.nan)]) for a in rows)
    data = Data(Labelled(*padded, jnp.ones(SLOTS), jnp.arange(SLOTS), jnp.asarray(N)))
    return data, covariance @ x.T @ y / NOISE**2, covariance


WALKS = {
    "sgld": lambda training: sgld(
        Linear(), gaussian(NOISE), training, prior_std=PRIOR, learning_rate=0.01, burn_in=500, thinning=20, draws=4000
    ),
    "cyclical_sghmc": lambda training: cyclical_sghmc(
        Linear(),
        gaussian(NOISE),
        training,
        prior_std=PRIOR,
        learning_rate=0.05,
        cycles=10,
        steps=20000,
        draws=400,
        exploring=0.2,
    ),
}


@pytest.mark.parametrize("name", WALKS)
def test_draws_have_the_exact_mean_and_covariance_of_a_linear_regression(name):
    data, mean, covariance = regression()
    posterior = WALKS[name](Training(adam(1e-2), minibatch_size=SLOTS, steps=100))  # all rows: the gradient is exact
    state, info = jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, data.labelled.inputs), data))()
    draws = np.asarray(state.draws["Dense_0"]["kernel"])[..., 0]
    assert info["finite"]
    scale = np.sqrt(np.diag(covariance))
    assert abs((draws.mean(0) - mean) / scale).max() < 0.1
    whitened = np.linalg.inv(np.linalg.cholesky(covariance))
    found = whitened @ np.cov(draws.T) @ whitened.T
    np.testing.assert_allclose(found, np.eye(3), atol=0.1)


def test_snapshots_are_the_ends_of_cycles_of_sgd():
    x, y = blobs(0, 16)
    labelled = Labelled(x, y, jnp.ones(16), jnp.arange(16), jnp.asarray(16))
    options = {"steps": 7, "learning_rate": 0.3, "momentum": 0.5, "prior_std": 1e3}
    training = Training(adam(1e-2), minibatch_size=16, steps=5)
    network = MLP(3, (4,), 0.0)
    posterior = snapshot_ensemble(network, categorical(), training, members=3, **options)
    start = posterior.init(KEY, x)
    state, _ = jax.jit(lambda: posterior.fit(KEY, start, Data(labelled)))()
    # By hand, from the parameters that the first two snapshots are 7 steps apart from.
    params = jax.tree.map(lambda leaf: leaf[0], state.draws)
    shorter = snapshot_ensemble(network, categorical(), training, members=1, **options)
    alone, _ = jax.jit(lambda: shorter.fit(KEY, shorter.init(KEY, x), Data(labelled)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5), alone.draws, params)

    def loss(params):
        logits = network.apply({"params": params}, x)
        return categorical().loss(logits, y).mean()

    fitted, _ = jax.jit(lambda: point_fit(network, training, x, labelled))()
    velocity = jax.tree.map(jnp.zeros_like, fitted)
    for index in range(7):
        size = 0.15 * (np.cos(np.pi * index / 7) + 1)
        velocity = jax.tree.map(lambda v, g, size=size: 0.5 * v - size * g, velocity, jax.grad(loss)(fitted))
        fitted = jax.tree.map(jnp.add, fitted, velocity)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), params, fitted)
    assert len({leaf.tobytes() for leaf in np.asarray(state.draws["Dense_0"]["kernel"])}) == 3


def point_fit(network, training, x, labelled):
    posterior = point(network, categorical(), training)
    return posterior.fit(jax.random.split(KEY)[0], posterior.init(KEY, x), Data(labelled))


def test_a_sample_has_the_draws_it_is_asked_for_at_most_all():
    x, _ = blobs(0, 16)
    posterior = sgld(MLP(3, (4,), 0.0), categorical(), Training(adam(), steps=1), burn_in=1, thinning=1, draws=5)
    state = posterior.init(KEY, x)
    for asked, given in ((3, 3), (5, 5), (9, 5)):
        assert len(jax.tree.leaves(posterior.sample(KEY, state, asked))[0]) == given


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda *a: sgld(*a, learning_rate=0.0), "learning_rate=0.0: expected a positive number"),
        (lambda *a: sgld(*a, prior_std=-1.0), "prior_std=-1.0"),
        (lambda *a: sgld(*a, thinning=0), "thinning=0: expected at least 1"),
        (lambda *a: cyclical_sghmc(*a, exploring=1.0), "exploring=1.0"),
        (lambda *a: cyclical_sghmc(*a, steps=10, draws=5), "draws=5: expected at most 2"),
        (lambda *a: snapshot_ensemble(*a, momentum=1.0), "momentum=1.0"),
    ],
)
def test_wrong_numbers_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make(MLP(3, (4,), 0.0), categorical(), Training(adam(), steps=1))
