"""EPIG by two independent formulas, its relation to BALD, and what it says of targets that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs, tiny
from scipy.special import logsumexp

from al_jax.acquisitions import acquire, bald, epig
from al_jax.acquisitions.draws.epig import expected_information_gain
from al_jax.testing import check_acquisition


def table(rows: int, samples: int, classes: int, seed: int = 0) -> np.ndarray:
    logits = 2 * np.random.default_rng(seed).normal(size=(rows, samples, classes))
    return (logits - logsumexp(logits, axis=-1, keepdims=True)).astype(np.float32)


def by_divergence(log_probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """E_{x*} KL[p(y, y*) || p(y) p(y*)], pair by pair in float64."""
    pool, aims = np.exp(log_probs.astype(np.float64)), np.exp(targets.astype(np.float64))
    gains = np.zeros((len(pool), len(aims)))
    for i, j in np.ndindex(gains.shape):
        joint = np.mean([np.outer(p, q) for p, q in zip(pool[i], aims[j], strict=True)], axis=0)
        gains[i, j] = (joint * np.log(joint / np.outer(pool[i].mean(0), aims[j].mean(0)))).sum()
    return gains.mean(1)


@pytest.mark.parametrize(("samples", "classes"), [(1, 3), (5, 2), (8, 4)])
def test_entropies_and_divergences_agree(samples, classes):
    log_probs, targets = table(6, samples, classes), table(7, samples, classes, 1)
    ours = expected_information_gain(jnp.asarray(log_probs), jnp.asarray(targets))
    np.testing.assert_allclose(ours, by_divergence(log_probs, targets), atol=2e-6)


def test_other_target_classes_than_the_pool_has():
    log_probs, targets = table(6, 5, 3), table(7, 5, 4, 1)
    ours = expected_information_gain(jnp.asarray(log_probs), jnp.asarray(targets))
    np.testing.assert_allclose(ours, by_divergence(log_probs, targets), atol=2e-6)


def test_it_never_exceeds_what_the_label_says_of_the_parameters():
    """The data-processing inequality: I(y; y*) <= I(y; w)."""
    log_probs, targets = jnp.asarray(table(200, 10, 4)), jnp.asarray(table(20, 10, 4, 1))
    gains = expected_information_gain(log_probs, targets)
    assert np.all(gains <= bald(log_probs) + 1e-5)
    assert np.all(gains >= -1e-5)


def test_about_a_target_that_reveals_the_sample_it_is_bald():
    """A target whose label names the sample: knowing y* is knowing w."""
    with np.errstate(divide="ignore"):
        target = np.log(np.eye(6, dtype=np.float32))[None]
    log_probs = jnp.asarray(table(30, 6, 3))
    np.testing.assert_allclose(expected_information_gain(log_probs, jnp.asarray(target)), bald(log_probs), atol=1e-6)


def test_its_bias_falls_as_one_over_the_number_of_samples():
    """Rows and targets that are independent given enough samples: the truth is 0, the estimate 2 BALD BALD* / K."""
    means = []
    for samples in (10, 40, 160):
        log_probs, targets = jnp.asarray(table(100, samples, 3)), jnp.asarray(table(50, samples, 3, 1))
        means.append(float(expected_information_gain(log_probs, targets).mean()))
        expected = 2 * float(bald(log_probs).mean() * bald(targets).mean()) / samples
        assert means[-1] == pytest.approx(expected, rel=0.3)
    assert means[0] / means[1] == pytest.approx(4, rel=0.15)
    assert means[1] / means[2] == pytest.approx(4, rel=0.15)


def test_from_plain_arrays_it_picks_the_best_rows():
    log_probs, targets = table(40, 6, 3), table(9, 6, 3, 1)
    gains = by_divergence(log_probs, targets)
    acquired = acquire(epig(targets), log_probs, 5)
    np.testing.assert_array_equal(acquired.indices, np.argsort(-gains)[:5])
    np.testing.assert_allclose(acquired.scores, np.sort(gains)[::-1][:5], atol=2e-6)


def test_in_a_round_the_targets_are_predicted_by_the_same_draws():
    inputs = blobs(0, 24)[0]
    check_acquisition(epig(blobs(1, 7)[0]), tiny("mc_dropout"), inputs)


@pytest.mark.parametrize("targets", [table(9, 5, 3), table(9, 6, 3)[0]])
def test_targets_with_other_samples_than_the_pool_are_named(targets):
    with pytest.raises(ValueError, match=r"targets have shape .*: expected \[T, 6, C\]"):
        acquire(epig(targets), table(40, 6, 3), 5)


def test_it_lowers_and_needs_no_pool_sized_memory():
    compiled = jax.jit(expected_information_gain).lower(table(128, 20, 10), table(100, 20, 10)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 128 * 10 * 100 * 10 * 4
