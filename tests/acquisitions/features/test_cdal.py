import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax.acquisitions import acquire, bald, cdal, prefilter
from al_jax.acquisitions.features.cdal import symmetric_kl
from al_jax.types import Data, Labelled, Round

N, K, C, B, M = 12, 3, 4, 5, 6
KEYS = jax.random.split(jax.random.key(0), 2000)


def pool(seed, labelled=3):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(C), (N, K))), np.log(rng.dirichlet(np.ones(C), (labelled, K)))


def distance(p, q):
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)) + sum(
        b * np.log(b / a) for a, b in zip(p, q, strict=True)
    )


def farthest_first(log_probs, labelled, available, batch_size, first=None):
    p, centres = np.exp(log_probs).mean(1), list(np.exp(labelled).mean(1))
    picks, found = [], []
    for _ in range(batch_size):
        left = [i for i in range(N) if available[i] and i not in picks]
        nearest = {i: min((distance(p[i], c) for c in centres), default=np.inf) for i in left}
        picks.append(max(left, key=nearest.get) if centres else first)
        found.append(nearest[picks[-1]])
        centres.append(p[picks[-1]])
    return picks, found


@pytest.mark.parametrize("labelled", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_farthest_first_from_labelled_rows_alone(seed, labelled):
    log_probs, known = pool(seed, labelled)
    available = np.random.default_rng(seed).random(N) < 0.7
    acquired = acquire(cdal(), log_probs, B, available, labelled_log_probs=known)
    picks, distances = farthest_first(log_probs, known, available, B)
    assert acquired.indices.tolist() == picks
    np.testing.assert_allclose(acquired.scores, distances, rtol=1e-4)


def test_without_labelled_rows_the_first_pick_is_anyones():
    log_probs, _ = pool(0)
    acquired = acquire(cdal(), log_probs, B, labelled_log_probs=np.zeros((0, K, C)))
    picks, distances = farthest_first(log_probs, np.zeros((0, K, C)), np.ones(N, bool), B, int(acquired.indices[0]))
    assert acquired.indices.tolist() == picks
    np.testing.assert_allclose(acquired.scores, distances, rtol=1e-4)
    nobody = Labelled(jnp.zeros((M, 1)), jnp.zeros(M, int), jnp.ones(M), jnp.zeros(M, int), jnp.asarray(0))
    round = Round(KEYS[0], None, Data(nobody), None, jnp.full((M, C), jnp.nan))
    table, some = jnp.log(jnp.asarray(np.exp(log_probs).mean(1), jnp.float32)), jnp.arange(N) % 2 == 0
    first = jax.vmap(lambda key: cdal().select(key, round, table, some, 1).indices[0])(KEYS)
    counts = np.bincount(first, minlength=N)
    assert counts[1::2].sum() == 0
    assert stats.chisquare(counts[::2]).pvalue > 1e-3


def test_probabilities_of_zero_are_far_and_finite_and_equal_rows_at_distance_zero():
    certain = jnp.log(jnp.eye(3))
    found = symmetric_kl(certain, certain[0])
    assert found[0] == 0
    assert (found[1:] > 100).all()
    assert np.isfinite(found).all()
    close = jnp.log(jnp.array([[0.5, 0.5], [0.5001, 0.4999]]))
    np.testing.assert_allclose(symmetric_kl(close, close[0])[1], distance([0.5, 0.5], [0.5001, 0.4999]), rtol=1e-2)


def test_duplicates_of_picks_come_after_all_others_and_no_row_twice():
    log_probs, known = pool(1)
    log_probs[6:] = log_probs[:6]
    acquired = acquire(cdal(), log_probs, N, labelled_log_probs=known)
    assert sorted(acquired.indices.tolist()) == list(range(N))
    assert len({i % 6 for i in acquired.indices[:6].tolist()}) == 6
    np.testing.assert_allclose(acquired.scores[6:], 0.0, atol=1e-6)


def test_after_a_prefilter_it_chooses_from_the_shortlist():
    log_probs, known = pool(2)
    best = np.isin(np.arange(N), np.argsort(-np.asarray(bald(jnp.asarray(log_probs, jnp.float32))))[:6])
    acquired = acquire(prefilter(bald, 6, cdal()), log_probs, 4, labelled_log_probs=known)
    assert acquired.indices.tolist() == farthest_first(log_probs, known, best, 4)[0]


def test_labelled_predictions_must_fit():
    log_probs, known = pool(0)
    with pytest.raises(ValueError, match="give acquire"):
        acquire(cdal(), log_probs, 2)
    for wrong in (known[:, :, :2], known[0], known):
        with pytest.raises(ValueError, match="labelled_log_probs"):
            acquire(cdal(), log_probs, 2, None, np.zeros((N, 2)), np.zeros((2, 2)), labelled_log_probs=wrong)
    with pytest.raises(ValueError, match=r"labelled_log_probs.*sums to"):
        acquire(cdal(), log_probs, 2, labelled_log_probs=known + 1.0)


@pytest.mark.parametrize("slot", [np.nan, 0.0, -1.0])
def test_padding_of_the_labelled_buffer_has_no_influence(slot):
    log_probs, known = pool(3, 2)
    p, q = (jnp.asarray(np.log(np.exp(a).mean(1)), jnp.float32) for a in (log_probs, known))
    padded = jnp.full((M, C), slot).at[2:4].set(p[:2]).at[:2].set(q)
    buffer = Labelled(jnp.zeros((M, 1)), jnp.zeros(M, int), jnp.ones(M), jnp.zeros(M, int), jnp.asarray(2))
    acquired = cdal().select(KEYS[0], Round(KEYS[0], None, Data(buffer), None, padded), p, jnp.ones(N, bool), B)
    picks, distances = farthest_first(log_probs, known, np.ones(N, bool), B)
    assert acquired.indices.tolist() == picks
    np.testing.assert_allclose(acquired.scores, distances, rtol=1e-4)
