"""Scores of a regression against Bayesian linear regression in closed form, and against brute force."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats

from al_jax.acquisitions import core_mse, eer, emoc, epig, mocu, top_k, wmocu
from al_jax.acquisitions.draws.variance_reduction import variance_reduced
from al_jax.acquisitions.regression import gaussian_bald, gaussian_information_gain, variance
from al_jax.testing import check_acquisition, lowered
from al_jax.types import GaussianPredictions

NOISE = 0.4


def predictions(mean, noise_variance=None) -> GaussianPredictions:
    """Of means [n, K], with the same noise everywhere unless it is given."""
    mean = np.asarray(mean, np.float32)
    noise_variance = np.full_like(mean, NOISE**2) if noise_variance is None else np.asarray(noise_variance, np.float32)
    return GaussianPredictions(mean, noise_variance, mean[:, 0], noise_variance[:, 0])


@pytest.fixture(scope="module")
def linear():
    """Pool, targets, covariance of the weights, and 20 000 draws of them, of a linear function of three features."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(3, 3))
    covariance = root @ root.T / 3
    weights = generator.multivariate_normal(np.ones(3), covariance, 20_000)
    return generator.normal(size=(8, 3)), generator.normal(size=(5, 3)), covariance, weights


def test_variance_and_bald_are_those_of_bayesian_linear_regression(linear):
    x, _, covariance, weights = linear
    function = np.einsum("nd,de,ne->n", x, covariance, x)
    found = predictions(x @ weights.T)
    np.testing.assert_allclose(variance(found), NOISE**2 + function, rtol=0.04)
    np.testing.assert_allclose(gaussian_bald(found), 0.5 * np.log1p(function / NOISE**2), atol=0.02)


def test_epig_is_that_of_bayesian_linear_regression(linear):
    """I(y; y*) of two jointly normal labels, by the determinants of their covariance."""
    x, targets, covariance, weights = linear
    expected = np.zeros((len(x), len(targets)))
    for i, row in enumerate(x):
        for j, target in enumerate(targets):
            both = np.stack([row, target])
            joint = both @ covariance @ both.T + NOISE**2 * np.eye(2)
            expected[i, j] = 0.5 * np.log(joint[0, 0] * joint[1, 1] / np.linalg.det(joint))
    found = gaussian_information_gain(predictions(x @ weights.T), predictions(targets @ weights.T))
    np.testing.assert_allclose(found, expected.mean(1), atol=0.01)


def test_variance_reduction_is_that_of_bayesian_linear_regression(linear):
    """How far the variance at the targets falls, by conditioning the weights on a label of the row."""
    x, targets, covariance, weights = linear

    def after(row):
        gain = covariance @ row / (row @ covariance @ row + NOISE**2)
        return covariance - np.outer(gain, row @ covariance)

    expected = [np.mean([t @ (covariance - after(row)) @ t for t in targets]) for row in x]
    found = variance_reduced(predictions(x @ weights.T), predictions(targets @ weights.T))
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-3)
    with pytest.raises(ValueError, match="targets have K=3 samples: expected 2, those of the pool"):
        variance_reduced(predictions(np.zeros((4, 2))), predictions(np.zeros((4, 3))))


def test_bald_is_the_information_of_the_matched_normal_and_never_less_than_the_mixture_s():
    """The mixture's entropy by quadrature in float64: the normal of the same variance has the largest there is."""
    mean, deviation = np.array([-1.0, 0.5, 2.0]), np.array([0.3, 0.5, 0.2])

    def density(y):
        return stats.norm.pdf(y, mean, deviation).mean()

    entropy = integrate.quad(lambda y: -density(y) * np.log(density(y)), -4, 6, limit=200)[0]
    within = stats.norm(0, deviation).entropy().mean()
    total = (deviation**2).mean() + mean.var()
    found = gaussian_bald(predictions(mean[None], deviation[None] ** 2))[0]
    np.testing.assert_allclose(found, stats.norm(0, np.sqrt(total)).entropy() - within, rtol=1e-5)
    assert found >= entropy - within


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, (4, 5), elements=st.floats(-1e3, 1e3, width=32)))
def test_scores_are_finite_never_negative_and_blind_to_the_order_of_samples(mean):
    found = predictions(mean)
    shuffled = predictions(mean[:, ::-1])
    for score in (variance, gaussian_bald, lambda p: gaussian_information_gain(p, predictions(mean[:2]))):
        values = np.asarray(score(found))
        assert (values >= 0).all()
        assert np.isfinite(values).all()
    for score in (variance, gaussian_bald):
        np.testing.assert_allclose(score(found), score(shuffled), rtol=1e-4, atol=1e-5)


def test_one_sample_knows_nothing_of_the_function():
    one = predictions([[1.0], [2.0]])
    np.testing.assert_array_equal(gaussian_bald(one), 0)
    np.testing.assert_allclose(variance(one), NOISE**2, rtol=1e-6)


def test_targets_with_other_samples_are_refused():
    with pytest.raises(ValueError, match="targets have K=3 samples: expected 2"):
        gaussian_information_gain(predictions(np.zeros((4, 2))), predictions(np.zeros((4, 3))))


@pytest.mark.parametrize("method", [eer, emoc, core_mse, mocu, wmocu], ids=lambda m: m.__name__)
def test_gains_of_classes_name_themselves_and_what_was_expected(method, straight_line):
    with pytest.raises(ValueError, match="reads class probabilities, and this is a regression: expected"):
        check_acquisition(method(4), straight_line, jax.random.normal(jax.random.key(0), (24, 5)))


@pytest.mark.parametrize(
    "acquisition",
    [top_k(gaussian_bald), epig(np.ones((3, 5), np.float32), gain=gaussian_information_gain)],
    ids=["bald", "epig"],
)
def test_acquisitions_of_a_regression_obey_the_laws(acquisition, straight_line):
    check_acquisition(acquisition, straight_line, jax.random.normal(jax.random.key(0), (24, 5)))


def test_epig_multiplies_in_full_precision_on_a_tpu(linear):
    x, targets, _, weights = linear
    text = lowered(gaussian_information_gain, predictions(x @ weights.T), predictions(targets @ weights.T))
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert [line for line in products if "HIGHEST" not in line] == []
