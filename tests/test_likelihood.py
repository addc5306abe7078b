"""The Gaussian likelihood against SciPy; the categorical one is tested with the metrics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TRAINING, blobs
from scipy import stats

from al_jax.acquisitions import batchbald
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP
from al_jax.posteriors import ensemble, laplace, mc_dropout
from al_jax.testing import check_acquisition, check_posterior
from al_jax.types import GaussianPredictions

X, LABELS = blobs(0, 16)[0], np.linspace(-3, 5, 16, dtype=np.float32)
generator = np.random.default_rng(0)
OUTPUTS = generator.normal(size=(16, 7, 1)).astype(np.float32)


def test_labels_keep_their_units():
    likelihood = gaussian(0.5, shift=10.0, scale=2.0)
    expected = -stats.norm(10 + 2 * OUTPUTS[:, 0, 0], 0.5).logpdf(LABELS)
    np.testing.assert_allclose(likelihood.loss(OUTPUTS[:, 0], LABELS), expected, rtol=1e-4)
    found = likelihood.predictions(OUTPUTS, OUTPUTS[:, 0])
    np.testing.assert_allclose(found.mean, 10 + 2 * OUTPUTS[..., 0], rtol=1e-6)
    np.testing.assert_allclose(found.variance, 0.25)
    np.testing.assert_array_equal(found.point, found.mean[:, 0])


def test_noise_that_is_learned_is_a_second_output():
    likelihood = gaussian(None, scale=2.0)
    outputs = np.stack([OUTPUTS[:, 0, 0], np.linspace(-90, 90, 16, dtype=np.float32)], -1)
    deviation = 2 * np.sqrt(np.logaddexp(0, outputs[:, 1].astype(np.float64)) + 1e-6)
    expected = -stats.norm(2 * outputs[:, 0], deviation).logpdf(LABELS)
    np.testing.assert_allclose(likelihood.loss(outputs, LABELS), expected, rtol=1e-4)
    assert jnp.isfinite(likelihood.predictions(outputs[:, None], outputs).variance).all()


def test_metrics_are_those_of_the_mixture_over_samples():
    likelihood = gaussian(0.5)
    mean = OUTPUTS[..., 0].astype(np.float64)
    found = likelihood.metrics(likelihood.predictions(OUTPUTS, OUTPUTS[:, 0]), LABELS)
    density = stats.norm(mean, 0.5).pdf(LABELS[:, None]).mean(1)
    np.testing.assert_allclose(found["nll"], -np.log(density).mean(), rtol=1e-4)
    np.testing.assert_allclose(found["rmse"], np.sqrt(((mean.mean(1) - LABELS) ** 2).mean()), rtol=1e-5)
    low, high = stats.norm(mean.mean(1), np.sqrt(0.25 + mean.var(1))).interval(0.95)
    np.testing.assert_allclose(found["coverage"], ((low <= LABELS) & (high >= LABELS)).mean())


def test_marginal_loses_nothing_that_the_metrics_need():
    likelihood = gaussian(0.5)
    whole = likelihood.predictions(OUTPUTS, OUTPUTS[:, 0])
    once = likelihood.metrics(likelihood.marginal(whole), LABELS)
    assert once == likelihood.metrics(whole, LABELS)


def test_at_point_is_the_deterministic_function_as_the_only_sample():
    found = gaussian(0.5).predictions(OUTPUTS, OUTPUTS[:, 3])
    assert found.at_point().mean.shape == (16, 1)
    np.testing.assert_array_equal(found.at_point().mean[:, 0], OUTPUTS[:, 3, 0])
    classes = categorical().predictions(jnp.zeros((4, 2, 3)), jnp.ones((4, 3)) * jnp.arange(3.0))
    np.testing.assert_array_equal(classes.at_point().log_probs[:, 0], classes.point)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf")])
def test_a_size_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match=f"noise_std={value}"):
        gaussian(value)
    with pytest.raises(ValueError, match=f"scale={value}"):
        gaussian(0.1, scale=value)


def test_a_network_of_another_width_is_refused():
    with pytest.raises(ValueError, match="3 outputs: expected 1, the mean"):
        gaussian(0.5).loss(np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(ValueError, match="1 outputs: expected 2, mean and variance"):
        gaussian(None).loss(np.zeros((4, 1)), np.zeros(4))


REGRESSIONS = {
    "ensemble of MC dropout, learned noise": ensemble(mc_dropout(MLP(2, (8,), 0.2), gaussian(None), TRAINING), 2),
    "laplace": laplace(MLP(1, (8,), 0.0), gaussian(0.5), TRAINING),
}


@pytest.mark.parametrize("posterior", REGRESSIONS.values(), ids=REGRESSIONS)
def test_posteriors_of_a_regression_obey_the_laws(posterior):
    check_posterior(posterior, X, LABELS, lowers=False)


def test_an_ensemble_joins_the_samples_of_its_members():
    posterior = REGRESSIONS["ensemble of MC dropout, learned noise"]
    state = posterior.init(jax.random.key(0), X)
    draws = posterior.sample(jax.random.key(1), state, 6)
    found = posterior.predict(state, draws, X)
    assert isinstance(found, GaussianPredictions)
    assert found.mean.shape == found.variance.shape == (16, 6)
    member = mc_dropout(MLP(2, (8,), 0.2), gaussian(None), TRAINING)
    of_second = member.predict(*jax.tree.map(lambda leaf: leaf[1], (state, draws)), X)
    np.testing.assert_allclose(found.mean[:, 3:], of_second.mean, rtol=1e-5)
    np.testing.assert_allclose(found.variance[:, 3:], of_second.variance, rtol=1e-5)


def test_a_score_of_classes_is_refused_with_the_remedy(straight_line):
    with pytest.raises(ValueError, match=r"this is a regression: take a score of al_jax\.acquisitions\.regression"):
        check_acquisition(batchbald(10), straight_line, np.ones((24, 5), np.float32), lowers=False)
