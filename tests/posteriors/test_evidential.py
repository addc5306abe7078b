"""Evidential networks: the paper's loss in closed form, draws of a Dirichlet that are functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TRAINING, blobs
from scipy import stats
from scipy.special import digamma, gammaln

from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP
from al_jax.posteriors import evidential
from al_jax.posteriors.evidential import concentration, terms
from al_jax.training import Training, adam, mixup
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)


def test_the_error_is_the_expected_square_under_the_dirichlet_and_the_divergence_is_that_of_dirichlets():
    alpha, labels = np.array([[1.5, 3.0, 1.2], [4.0, 1.1, 2.0]]), np.array([0, 2])
    error, divergence = terms(jnp.asarray(alpha), jnp.asarray(labels))
    generator = np.random.default_rng(0)
    for row, label, found, kl in zip(alpha, labels, error, divergence, strict=True):
        draws = stats.dirichlet(row).rvs(200_000, random_state=generator)
        assert float(found) == pytest.approx(((np.eye(3)[label] - draws) ** 2).sum(1).mean(), rel=5e-3)
        wrong = np.where(np.arange(3) == label, 1.0, row)
        total = wrong.sum()
        exact = (
            gammaln(total) - gammaln(wrong).sum() - gammaln(3) + ((wrong - 1) * (digamma(wrong) - digamma(total))).sum()
        )
        assert float(kl) == pytest.approx(exact, rel=1e-4)


def test_draws_are_of_the_dirichlet_and_the_point_is_its_mean():
    x, _ = blobs(0, 4)
    posterior = evidential(MLP(3, (8,), 0.0), categorical(), TRAINING)
    state = jax.tree.map(lambda leaf: 3 * leaf, posterior.init(KEY, x))
    draws = np.exp(posterior.predict(state, posterior.sample(KEY, state, 20_000), x).log_probs)
    alpha = np.asarray(concentration(MLP(3, (8,), 0.0).apply({"params": state}, x)))
    total = alpha.sum(1, keepdims=True)
    mean = alpha / total
    np.testing.assert_allclose(draws.mean(1), mean, atol=0.01)
    np.testing.assert_allclose(draws.var(1), mean * (1 - mean) / (total + 1), rtol=0.05)
    np.testing.assert_allclose(
        np.exp(posterior.predict(state, posterior.sample(KEY, state, 3), x).point), mean, rtol=1e-5
    )


def test_it_learns_and_says_less_far_from_the_data():
    x, y = blobs(0, 60)
    labelled = Labelled(x, y, jnp.ones(60), jnp.arange(60), jnp.asarray(60))
    posterior = evidential(MLP(3, (32,), 0.0), categorical(), Training(adam(1e-2), steps=400), weight=0.1)
    state, info = jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, x), Data(labelled)))()
    test, labels = blobs(1, 60)
    predictions = posterior.predict(state, posterior.sample(KEY, state, 8), test)
    assert (predictions.point.argmax(-1) == labels).mean() > 0.8
    assert info["finite"]
    assert info["divergence"] > 0


def test_what_does_not_fit_is_named():
    network = MLP(3, (8,))
    with pytest.raises(ValueError, match=r"expected categorical\(\)"):
        evidential(network, gaussian(1.0), TRAINING)
    with pytest.raises(ValueError, match="without an objective"):
        evidential(network, categorical(), Training(adam(), steps=1, objective=mixup()))
    with pytest.raises(ValueError, match=r"weight=-1\.0: expected 0 or more"):
        evidential(network, categorical(), TRAINING, weight=-1.0)
