"""SNGP: bounded layers, the posterior of random features in closed form, and more doubt far from the data."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TRAINING, blobs

from al_jax.data import two_moons
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP
from al_jax.posteriors import sngp
from al_jax.posteriors.sngp import normalised, spectral_norm
from al_jax.training import Training, adam
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)


def fitted(posterior, x, y, count=None):
    labelled = Labelled(x, y, jnp.ones(len(y)), jnp.arange(len(y)), jnp.asarray(len(y) if count is None else count))
    return jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, x), Data(labelled)))()


def test_kernels_above_the_bound_are_brought_to_it_and_others_stay():
    rng = np.random.default_rng(0)
    large, small = rng.normal(size=(20, 30)), 0.01 * rng.normal(size=(20, 30))
    images, bias = rng.normal(size=(3, 3, 4, 8)), rng.normal(size=8)
    params = jax.tree.map(jnp.asarray, {"large": large, "small": small, "images": images, "bias": bias})
    found = normalised(params, 0.9)
    assert np.linalg.norm(found["large"], 2) == pytest.approx(0.9, rel=0.05)
    assert np.linalg.norm(np.reshape(found["images"], (-1, 8)), 2) == pytest.approx(0.9, rel=0.05)
    np.testing.assert_array_equal(found["small"], params["small"])
    np.testing.assert_array_equal(found["bias"], params["bias"])
    exact = np.linalg.norm(large, 2)
    assert 0.93 * exact < float(spectral_norm(params["large"])) <= exact * (1 + 1e-5)


@pytest.mark.parametrize("count", [20, 24])
def test_the_precision_is_the_papers_and_draws_have_its_covariance(count):
    x, y = blobs(0, 24)
    posterior = sngp(
        MLP(3, (8,), 0.0), categorical(), TRAINING, random_features=6, length_scale=1.5, prior_precision=2.0
    )
    state, _ = fitted(posterior, x, y, count)
    h = np.asarray(posterior.predict(state, posterior.sample(KEY, state, 1), x).features, np.float64)
    phi = np.sqrt(2 / 6) * np.cos(h / 1.5 @ np.asarray(state.frequencies, np.float64) + np.asarray(state.phases))
    logits = phi @ np.asarray(state.params.weights, np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    draws = np.asarray(posterior.sample(KEY, state, 40_000))
    for c in range(3):
        precision = 2.0 * np.eye(6)
        for i in range(count):
            precision += p[i, c] * (1 - p[i, c]) * np.outer(phi[i], phi[i])
        np.testing.assert_allclose(state.factor[c] @ state.factor[c].T, precision, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.cov(draws[:, :, c].T), np.linalg.inv(precision), atol=0.02)
        np.testing.assert_allclose(draws[:, :, c].mean(0), state.params.weights[:, c], atol=0.02)


def test_with_known_noise_it_is_bayesian_linear_regression_on_the_random_features():
    x, _ = blobs(0, 24)
    y = x[:, 0].astype(np.float32)
    posterior = sngp(
        MLP(1, (8,), 0.0),
        gaussian(noise_std=0.5),
        Training(adam(1e-2), steps=3000, minibatch_size=24),
        random_features=6,
    )
    state, _ = fitted(posterior, x, y)
    h = np.asarray(posterior.predict(state, posterior.sample(KEY, state, 1), x).features, np.float64)
    phi = np.sqrt(2 / 6) * np.cos(h @ np.asarray(state.frequencies, np.float64) + np.asarray(state.phases))
    precision = np.eye(6) + phi.T @ phi / 0.25
    np.testing.assert_allclose(state.factor[0] @ state.factor[0].T, precision, rtol=1e-3, atol=1e-2)
    mean = np.linalg.solve(precision, phi.T @ y / 0.25)
    np.testing.assert_allclose(phi @ np.asarray(state.params.weights)[:, 0], phi @ mean, atol=0.02)


def test_it_doubts_more_the_farther_a_row_is_from_two_moons():
    moons = two_moons(200)
    x, y = moons.inputs, moons.labels
    training = Training(adam(1e-2), steps=500)
    far = (x + 6 * (x - x.mean(0)) / np.linalg.norm(x - x.mean(0), axis=1, keepdims=True)).astype(np.float32)
    posterior = sngp(MLP(2, (32, 32), 0.0), categorical(), training)
    state, _ = fitted(posterior, x, y)
    draws = posterior.sample(KEY, state, 200)
    near_std, far_std = (np.asarray(posterior.predict(state, draws, rows).log_probs).std(1).mean() for rows in (x, far))
    assert far_std > 1.5 * near_std
    accuracy = (
        np.asarray(posterior.predict(state, draws, moons.test_inputs).point).argmax(1) == moons.test_labels
    ).mean()
    assert accuracy > 0.9


class Nameless(nn.Module):
    """A network that names no features."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(4)(x)))


def test_what_cannot_be_is_named():
    module = MLP(3, (8,), 0.0)
    for name in ("random_features", "length_scale", "bound", "prior_precision"):
        with pytest.raises(ValueError, match=f"{name}=0: expected a positive number"):
            sngp(module, categorical(), TRAINING, **{name: 0})
    with pytest.raises(ValueError, match="convex in the outputs"):
        sngp(MLP(2, (8,), 0.0), gaussian(), TRAINING)
    with pytest.raises(ValueError, match="Nameless names no `features`"):
        sngp(Nameless(), categorical(), TRAINING).init(KEY, blobs(0, 2)[0])
