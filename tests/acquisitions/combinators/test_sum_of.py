import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, batchbald, entropy, margin, random, sum_of

N, B = 15, 6
KEY = jax.random.key(0)


def total(summary, weights, available):
    result = np.zeros(N)
    for weight, scores in zip(weights, summary, strict=True):
        of = [scores[i] for i in range(N) if available[i] and np.isfinite(scores[i])]
        mean = sum(of) / len(of)
        deviation = np.sqrt(sum((s - mean) ** 2 for s in of) / len(of))
        result += [weight * (s - mean) / deviation if deviation else 0.0 for s in scores]
    return np.where(available, result, -np.inf)


def picked(summary, available, weights=None):
    summary = tuple(jnp.asarray(part, jnp.float32) for part in summary)
    return sum_of(bald, entropy, weights=weights).select(KEY, None, summary, jnp.asarray(available), B)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, -0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_picks_are_those_of_the_largest_sum_of_standardised_scores(seed, weights):
    rng = np.random.default_rng(seed)
    summary, available = (rng.normal(size=N) * 100 + 1000, rng.exponential(size=N)), rng.random(N) < 0.7
    expected = total(summary, weights, available)
    acquired = picked(summary, available, weights)
    np.testing.assert_allclose(acquired.scores, np.sort(expected)[::-1][:B], rtol=1e-3, atol=1e-3)
    assert acquired.indices.tolist() == np.argsort(-expected)[:B].tolist()


def test_neither_units_nor_unavailable_rows_matter():
    rng = np.random.default_rng(0)
    a, b, available = rng.normal(size=N), rng.normal(size=N), np.arange(N) > 2
    plain = picked((a, b), available)
    other = picked((7 * a + 3, np.where(available, b, 1e6)), available)
    np.testing.assert_allclose(plain.scores, other.scores, atol=1e-4)
    assert plain.indices.tolist() == other.indices.tolist()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_score_that_is_the_same_for_all_counts_as_nothing(constant):
    scores = np.random.default_rng(1).normal(size=N)
    noise = constant * (1 + 1e-7 * np.arange(N))
    acquired = picked((scores, noise), np.ones(N, bool), (1.0, 100.0))
    assert acquired.indices.tolist() == np.argsort(-scores)[:B].tolist()


def test_minus_infinity_stays_and_leaves_the_others_finite():
    scores = np.random.default_rng(2).normal(size=N)
    scores[:3] = -np.inf
    acquired = picked((scores, np.zeros(N)), np.ones(N, bool))
    assert np.isfinite(acquired.scores).all()
    assert acquired.indices.tolist() == np.argsort(-scores)[:B].tolist()


def test_it_works_on_arrays_and_with_methods_of_one_score_a_row():
    log_probs = np.log(np.random.default_rng(3).dirichlet(np.ones(3), (N, 4)))
    scores = [np.asarray(f(jnp.asarray(log_probs, jnp.float32)), np.float64) for f in (bald, margin)]
    expected = np.argsort(-total(scores, (1, 1), np.ones(N, bool)))[:B].tolist()
    assert acquire(sum_of(bald, margin, random()), log_probs, B).indices.tolist() == expected


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="weights="):
        sum_of(bald, entropy, weights=(1.0,))
    with pytest.raises(ValueError, match="weights="):
        sum_of(bald, weights=(float("nan"),))
    with pytest.raises(ValueError, match="whole batches"):
        sum_of(bald, batchbald(8))
    with pytest.raises(ValueError, match="at least one"):
        sum_of()
