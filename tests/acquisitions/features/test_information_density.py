import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, batchbald, egl, information_density, margin, prefilter

N, B = 14, 6


def pool(seed):
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(3), (N, 4)))
    return log_probs, rng.normal(size=(N, 3)) + 0.7, rng.random(N) < 0.7


def scores_of(log_probs):
    return np.asarray(bald(jnp.asarray(log_probs, jnp.float32)), np.float64)


def weighted(scores, features, available, power):
    found = np.full(N, -np.inf)
    for i in range(N):
        if available[i]:
            cosines = []
            for j in range(N):
                if available[j]:
                    length = np.sqrt(sum(features[i] ** 2)) * np.sqrt(sum(features[j] ** 2))
                    cosines.append(sum(features[i] * features[j]) / length if length else 0.0)
            found[i] = scores[i] * max(sum(cosines) / len(cosines), 0.0) ** power
    return found


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_score_counts_as_much_as_its_row_is_like_the_available_ones(seed, power):
    log_probs, features, available = pool(seed)
    features[2] = 0.0
    expected = weighted(scores_of(log_probs), features, available, power)
    acquired = acquire(information_density(bald, power), log_probs, B, available, features)
    np.testing.assert_allclose(acquired.scores, np.sort(expected)[::-1][:B], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(acquired.scores, expected[np.asarray(acquired.indices)], rtol=1e-4, atol=1e-6)


def test_the_length_of_features_does_not_matter():
    log_probs, features, available = pool(0)
    lengths = 10.0 ** np.linspace(-25, 25, N)[:, None]
    plain, other = (
        acquire(information_density(bald), log_probs, B, available, f) for f in (features, features * lengths)
    )
    assert plain.indices.tolist() == other.indices.tolist()
    np.testing.assert_allclose(plain.scores, other.scores, rtol=1e-4)


def test_after_a_prefilter_the_pool_is_the_shortlist():
    log_probs, features, _ = pool(1)
    scores = scores_of(log_probs)
    best = np.isin(np.arange(N), np.argsort(-scores)[:8])
    expected = weighted(scores, features, best, 1.0)
    acquired = acquire(prefilter(bald, 8, information_density(bald)), log_probs, B, None, features)
    np.testing.assert_allclose(acquired.scores, np.sort(expected)[::-1][:B], rtol=1e-4)


def test_what_does_not_fit_is_refused():
    assert information_density(egl()).shortlist is None
    wrong = (margin, 1.0, "score=margin"), (bald, -1.0, "power=-1"), (batchbald(8), 1.0, "whole")
    for score, power, message in wrong:
        with pytest.raises(ValueError, match=message):
            information_density(score, power)
    with pytest.raises(ValueError, match="features"):
        acquire(information_density(bald), pool(0)[0], 2)


def test_scores_that_are_no_numbers_come_last_and_make_none():
    scores, units = jnp.asarray([0.1, jnp.nan, -jnp.inf, 0.2]), jnp.asarray([[1.0], [1.0], [-0.0], [1.0]])
    select = information_density(bald).select
    acquired = select(jax.random.key(0), None, (scores, units), jnp.ones(4, bool), 4)
    assert acquired.indices[:2].tolist() == [3, 0]
    assert not np.isnan(acquired.scores).any()
