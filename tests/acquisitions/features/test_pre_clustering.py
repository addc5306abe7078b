"""Pre-clustering against its mixture in float64, and on clusters where the answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from al_jax.acquisitions import acquire, pre_clustering
from al_jax.acquisitions.features.pre_clustering import STEPS, mixture, places_in_group
from tests.acquisitions.pools import B, C, N, pool, take


def reference(rows, centres, counted, std):
    """log p(x) and log p(k | x), with p(k) by expectation maximisation."""
    logs = np.array(
        [[multivariate_normal.logpdf(row, centre, std**2 * np.eye(len(row))) for centre in centres] for row in rows]
    )
    weights = np.full(len(centres), 1 / len(centres))
    for _ in range(STEPS):
        joint = logs[counted] + np.log(weights)
        weights = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).mean(0)
    joint = logs + np.log(weights)
    density = logsumexp(joint, axis=1)
    return density, joint - density[:, None]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("std", [None, 1.5])
def test_the_mixture_is_that_of_expectation_maximisation(seed, std):
    p = pool(seed)
    centres, counted = p.features[[0, 3, 8, 20]], p.available
    apart = ((p.features[:, None] - centres) ** 2).sum(2).min(1)[counted]
    spread = np.sqrt(apart.mean() / p.features.shape[1]) if std is None else std
    arguments = (jnp.asarray(a, jnp.float32) for a in (p.features, centres))
    found = mixture(*arguments, jnp.asarray(counted), jnp.ones(4, bool), std)
    density, responsibilities = reference(p.features, centres, counted, spread)
    np.testing.assert_allclose(found.density, density, atol=2e-3)
    np.testing.assert_allclose(np.exp(found.responsibilities), np.exp(responsibilities), atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_with_every_row_a_cluster_the_score_is_written_out(seed):
    p = pool(seed)._replace(available=np.ones(N, bool))
    found = take(pre_clustering(N, std=2.0), p)
    density, responsibilities = reference(p.features, p.features, p.available, 2.0)
    # Which of two equal rows is a medoid does not matter; both are, so all N rows are.
    classes = np.exp(responsibilities) @ np.exp(p.log_probs).mean(1)
    scores = np.log(1 - classes.max(1)) + density
    order = np.argsort(-scores)
    owner, turn = responsibilities.argmax(1), np.zeros(N, int)
    seen = dict.fromkeys(range(N), 0)
    for row in order:
        turn[row] = seen[owner[row]]
        seen[owner[row]] += 1
    expected = np.lexsort((-scores, turn))[:B]
    np.testing.assert_allclose(found.scores, scores[expected], atol=5e-3)


def test_dense_clusters_come_first_and_each_once():
    rng = np.random.default_rng(0)
    sizes, centres = (20, 10, 5), np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]])
    features = np.concatenate([c + rng.normal(size=(n, 2)) for n, c in zip(sizes, centres, strict=True)])
    log_probs = np.log(np.full((len(features), 1, C), 1 / C))
    found = acquire(pre_clustering(3), log_probs, 4, features=features)
    cluster = np.repeat(range(3), sizes)[np.asarray(found.indices)]
    assert cluster.tolist() == [0, 1, 2, 0]


def test_places_in_groups():
    assert places_in_group(jnp.asarray([2, 0, 2, 2, 1, 0])).tolist() == [0, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pre_clustering(0), "clusters=0: expected at least 1"),
        (lambda: pre_clustering(std=0.0), r"std=0\.0: expected a positive"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
