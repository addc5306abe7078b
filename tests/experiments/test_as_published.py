"""What repeats published code: it obeys the laws, and differs from the right thing in what it says it does."""

import jax
import numpy as np
import pytest
from conftest import TRAINING, blobs

from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import mc_dropout
from al_jax.testing import check_posterior
from experiments import as_published
from experiments.experiment import Experiment, build

KEY = jax.random.key(0)
X, Y = blobs(0, 12)
MODULE = MLP(num_classes=3, hidden=(8,), dropout=0.5)
FRESH = as_published.mc_dropout_fresh_masks(MODULE, categorical(), TRAINING)


def probabilities(posterior, x, num_samples):
    state = posterior.init(KEY, X)
    return np.exp(posterior.predict(state, posterior.sample(KEY, state, num_samples), x).log_probs)


def test_fresh_masks_obey_the_laws_of_a_posterior():
    check_posterior(FRESH, *blobs(0, 15))


def test_fresh_masks_are_those_of_no_other_row():
    """Nearly equal rows: under one mask their samples are nearly equal, under fresh ones they are unrelated."""
    near = np.float32(0.7) + np.float32(1e-3) * np.arange(6, dtype=np.float32)[:, None] * np.ones(2, np.float32)

    def correlations(posterior):
        samples = probabilities(posterior, near, 400)[..., 0]  # [n, K]
        return np.corrcoef(samples)[np.triu_indices(len(near), 1)]

    together = mc_dropout(MODULE, categorical(), TRAINING)
    assert correlations(together).min() > 0.99
    assert np.abs(correlations(FRESH)).max() < 5 / np.sqrt(400)


def test_equal_rows_have_equal_fresh_masks():
    samples = probabilities(FRESH, X[[3, 5, 3]], 20)
    np.testing.assert_array_equal(samples[0], samples[2])
    assert np.abs(samples[0] - samples[1]).max() > 1e-3


def test_of_one_row_fresh_masks_say_what_consistent_ones_do():
    size = 4000
    together = mc_dropout(MODULE, categorical(), TRAINING)
    ours, theirs = (probabilities(posterior, X, size)[..., 0] for posterior in (FRESH, together))  # [n, K]
    error = np.sqrt((ours.var(1) + theirs.var(1)) / size)
    assert (np.abs(ours.mean(1) - theirs.mean(1)) < 4.5 * error).all()
    np.testing.assert_allclose(ours.std(1), theirs.std(1), rtol=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_rows_that_differ_in_one_place_have_different_hashes(dtype):
    rows = np.zeros((100, 10, 10), dtype)
    rows.reshape(100, 100)[np.arange(100), np.arange(100)] = 1
    hashes = jax.vmap(as_published.hashed)({"image": rows})
    assert len(np.unique(hashes)) == 100


@pytest.mark.parametrize("acquisition", ["batchbald", "epig"])
def test_fresh_masks_are_refused_where_rows_are_read_together(acquisition):
    chosen = Experiment(posterior="mc_dropout_fresh_masks", acquisition=f"prefilter(bald, 50, {acquisition})")
    with pytest.raises(ValueError, match=f"^posterior=.*: expected mc_dropout, since {acquisition} asks"):
        build(chosen)


def test_mean_std_2017_is_nothing_but_ties():
    scores = as_published.mean_std_2017(
        np.log(np.random.default_rng(0).dirichlet(np.ones(3), (5, 7))).astype(np.float32)
    )
    assert scores.tolist() == [0.0] * 5
