import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, angle_diversity, bald, batchbald, entropy, prefilter
from al_jax.types import Round

N, B = 14, 6
KEY = jax.random.key(0)


def pool(seed):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(3), (N, 4))), rng.normal(size=(N, 3)), rng.random(N) < 0.7


def greedy(scores, features, available, trade_off, batch_size=B):
    picks, values = [], []
    for _ in range(batch_size):
        best, found = -np.inf, None
        for i in range(N):
            if available[i] and i not in picks:
                cosines = [0.0]
                for s in picks:
                    length = np.linalg.norm(features[i]) * np.linalg.norm(features[s])
                    cosines.append(abs(features[i] @ features[s]) / length if length else 0.0)
                value = trade_off * scores[i] - (1 - trade_off) * max(cosines)
                if value > best:
                    best, found = value, i
        picks.append(found)
        values.append(best)
    return picks, values


@pytest.mark.parametrize("trade_off", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_greedy_choice_between_score_and_angle(seed, trade_off):
    log_probs, features, available = pool(seed)
    features[5] = 0.0
    scores = np.asarray(entropy(jnp.asarray(log_probs, jnp.float32)), np.float64)
    picks, values = greedy(scores, features, available, trade_off)
    acquired = acquire(angle_diversity(entropy, trade_off), log_probs, B, available, features)
    assert acquired.indices.tolist() == picks
    np.testing.assert_allclose(acquired.scores, values, rtol=1e-4, atol=1e-6)


def test_with_angles_alone_opposite_and_repeated_rows_come_last_and_ties_by_the_key():
    features = jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    units = features / jnp.linalg.norm(features, axis=1, keepdims=True)
    keys = jax.random.split(KEY, 200)
    acquisition = angle_diversity(bald, 0.0)
    summary = jnp.full(4, -jnp.inf), units
    picks = jax.vmap(lambda key: acquisition.select(key, None, summary, jnp.ones(4, bool), 4).indices)(keys)
    assert set(picks[:, 0].tolist()) == {0, 1, 2, 3}
    assert (np.isin(picks[:, :2], 3).sum(1) == 1).all()
    assert (np.sort(picks, axis=1) == np.arange(4)).all()


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_scores_that_are_no_numbers_rank_last_but_before_unavailable_rows(bad):
    scores, units = jnp.asarray([0.1, bad, 0.3, 0.2]), jnp.eye(4)
    acquired = angle_diversity(bald).select(
        KEY, Round(KEY, None, None), (scores, units), jnp.asarray([True, True, False, True]), 4
    )
    assert acquired.indices.tolist() == [3, 0, 1, 2]
    assert not np.isnan(acquired.scores).any()
    assert acquired.scores[3] == -np.inf


def test_it_works_after_a_prefilter():
    log_probs, features, _ = pool(1)
    scores = np.asarray(entropy(jnp.asarray(log_probs, jnp.float32)), np.float64)
    best = np.isin(np.arange(N), np.argsort(-scores)[:8])
    acquired = acquire(prefilter(entropy, 8, angle_diversity(entropy)), log_probs, B, None, features)
    assert acquired.indices.tolist() == greedy(scores, features, best, 0.5)[0]


def test_what_does_not_fit_is_refused():
    for score, trade_off, message in ((bald, 1.5, "trade_off=1.5"), (batchbald(8), 0.5, "whole batches")):
        with pytest.raises(ValueError, match=message):
            angle_diversity(score, trade_off)
    with pytest.raises(ValueError, match="features"):
        acquire(angle_diversity(bald), pool(0)[0], 2)
