import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, borda, core_set, entropy, margin, prefilter
from al_jax.acquisitions.top_k import select_best

N, B = 15, 6
KEY = jax.random.key(0)
BORDA = borda(bald, entropy)


def count(scores, available):
    """Points by looking at every pair; -inf for a row that may not be chosen."""
    points = np.full(N, -np.inf)
    for i in range(N):
        if available[i]:
            points[i] = 0.0
            for j in range(N):
                if available[j] and j != i:
                    a, b = (-np.inf if np.isnan(s) else s for s in (scores[i], scores[j]))
                    points[i] += 1.0 if a > b else 0.5 if a == b else 0.0
    return points


def picked(summary, available, key=KEY, batch_size=B):
    summary = tuple(jnp.asarray(part, jnp.float32) for part in summary)
    return BORDA.select(key, None, summary, jnp.asarray(available), batch_size)


@pytest.mark.parametrize("seed", range(6))
def test_picks_are_those_of_the_largest_sum_of_points(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 5, N).astype(float)  # with ties
    second = np.where(rng.random(N) < 0.3, rng.choice([np.nan, np.inf, -np.inf], N), rng.normal(size=N))
    available = rng.random(N) < 0.8
    expected = count(first, available) + count(second, available)
    acquired = picked((first, second), available)
    np.testing.assert_allclose(acquired.scores, np.sort(expected)[::-1][:B])
    np.testing.assert_allclose(acquired.scores, expected[np.asarray(acquired.indices)])


def test_units_do_not_matter_and_unavailable_rows_have_no_points():
    rng = np.random.default_rng(0)
    scores, available = rng.normal(size=(2, N)), np.arange(N) > 3
    plain = picked(scores, available)
    other = picked((np.exp(5 * scores[0]), np.where(available, scores[1], 99.0)), available)
    np.testing.assert_array_equal(plain.scores, other.scores)
    assert plain.indices.tolist() == other.indices.tolist()


def test_a_score_that_is_the_same_for_all_decides_nothing():
    scores = np.random.default_rng(1).permutation(N)
    acquired = picked((scores, np.zeros(N)), np.ones(N, bool))
    assert acquired.indices.tolist() == np.argsort(-scores)[:B].tolist()


def test_equal_sums_are_tied_by_the_key():
    summary = np.arange(N), -np.arange(N)
    keys = jax.random.split(KEY, 300)
    first = jax.vmap(lambda key: picked(summary, np.ones(N, bool), key, 1).indices[0])(keys)
    assert len(set(first.tolist())) == N


def test_it_works_on_arrays():
    log_probs = np.log(np.random.default_rng(2).dirichlet(np.ones(3), (N, 4)))
    scores = [np.asarray(f(jnp.asarray(log_probs, jnp.float32))) for f in (bald, margin)]
    total = sum(count(part, np.ones(N, bool)) for part in scores)
    acquired = acquire(borda(bald, margin), log_probs, B)
    np.testing.assert_allclose(acquired.scores, np.sort(total)[::-1][:B])


def test_what_has_no_score_a_row_is_refused():
    with pytest.raises(ValueError, match="whole batches"):
        borda(bald, core_set())
    with pytest.raises(ValueError, match="at least one"):
        borda()
    with pytest.raises(ValueError, match="different shortlists"):
        borda(bald, prefilter(bald, 3, borda(bald))._replace(select=select_best))
