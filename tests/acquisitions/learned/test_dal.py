"""Discriminative active learning: what is chosen is what the labelled rows do not look like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import C, K, Pool, take

from al_jax.acquisitions import dal
from al_jax.acquisitions.learned.dal import discriminated, standardised


def groups(labelled_in, seed=0, each=20, spread=0.3):
    """Three far groups of rows, and 12 labelled rows in some of them."""
    rng = np.random.default_rng(seed)
    centres = 10 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + 100
    group = np.arange(3 * each) % 3
    log_probs = np.log(rng.dirichlet(np.ones(C), (3 * each, K)))
    known = centres[np.resize(labelled_in, 12)] + spread * rng.normal(size=(12, 2)) if labelled_in else np.zeros((0, 2))
    features = centres[group] + spread * rng.normal(size=(3 * each, 2))
    return group, Pool(log_probs, features, np.ones(3 * each, bool), known, np.zeros((len(known), K, C)) - np.log(C))


@pytest.mark.parametrize("seed", range(3))
def test_rows_unlike_the_labelled_ones_are_chosen(seed):
    group, p = groups([0, 1], seed)
    found = take(dal(1), p, 6, seed)
    assert (group[found.indices] == 2).all()
    assert (found.scores > 0).all()
    assert sorted(found.scores, reverse=True) == found.scores.tolist()


def test_what_a_share_took_counts_as_labelled_for_the_next():
    """One group is labelled. All at once, a batch may come from one of the others; in shares it comes from both."""
    for seed in range(4):
        group, p = groups([0], seed)
        found = take(dal(4), p, 8, seed)
        assert set(group[found.indices].tolist()) == {1, 2}
        assert len(set(found.indices.tolist())) == 8


@pytest.mark.parametrize("batch_size", [1, 7, 59, 60])
def test_batches_of_any_size_are_distinct_and_available_first(batch_size):
    _, p = groups([0])
    available = np.arange(60) % 4 > 0
    found = take(dal(3, 5), p, batch_size, available=available) if batch_size <= 45 else None
    if found is not None:
        assert available[found.indices].all()
        assert len(set(found.indices.tolist())) == batch_size
    whole = take(dal(3, 5), p, batch_size)
    assert len(set(whole.indices.tolist())) == batch_size


def test_without_labels_the_first_share_is_random():
    _, p = groups([])
    firsts = {tuple(take(dal(1), p, 4, seed).indices.tolist()) for seed in range(4)}
    assert len(firsts) == 4
    assert (take(dal(1), p, 4).scores == 0).all()


def test_the_classifier_finds_the_bayes_rule_of_two_overlapping_normals():
    """N(-1, 1) and N(1, 1) with equal shares: the logit is 2 x; trained for long, it is near where there are rows."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(-1, 1, 2000), rng.normal(1, 1, 500)])[:, None].astype(np.float32)
    known = np.arange(2500) < 2000  # four times as many: the shares in a minibatch are equal
    logits = discriminated(jax.random.key(0), jnp.asarray(rows), jnp.asarray(known), jnp.asarray(~known), 300)
    inner = np.abs(rows[:, 0]) < 1
    assert np.corrcoef(np.asarray(logits)[inner], rows[inner, 0])[0, 1] > 0.95
    assert abs(np.median(np.asarray(logits)[np.abs(rows[:, 0]) < 0.1])) < 0.4


def test_features_are_standardised_by_the_available_rows():
    rng = np.random.default_rng(0)
    rows, known = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    rows[:, 2], rows[3] = 7.0, 1e6
    available = np.arange(20) != 3
    offered = rows[available]
    expected = (np.concatenate([rows, known]) - offered.mean(0)) / np.where(offered.std(0) > 0, offered.std(0), 1)
    found = standardised(*(jnp.asarray(a, jnp.float32) for a in (rows, known)), jnp.asarray(available))
    np.testing.assert_allclose(found[4:], expected[4:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("arguments", [(0,), (1, 0)])
def test_what_cannot_be_is_named(arguments):
    with pytest.raises(ValueError, match="expected at least 1"):
        dal(*arguments)
