import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, core_set, entropy, mixture, prefilter, random, top_k
from al_jax.acquisitions.combinators.mixture import slots
from al_jax.types import Data, Labelled, Predictions, Round

RNG = np.random.default_rng(0)
N, K, C, B = 30, 4, 3, 10
LOG_PROBS = np.log(RNG.dirichlet(np.ones(C), (N, K)))
FEATURES = RNG.normal(size=(N, 2))
SCORES = {f: np.asarray(f(jnp.asarray(LOG_PROBS, jnp.float32)), np.float64) for f in (bald, entropy)}
KEYS = jax.random.split(jax.random.key(0), 4000)
X = jnp.asarray(LOG_PROBS, jnp.float32)


def in_turn(available, *parts):
    """Each (scores, number) takes its best rows among those that are left."""
    picks = []
    for scores, number in parts:
        for _ in range(number):
            left = [i for i in range(N) if available[i] and i not in picks]
            if left:
                picks.append(max(left, key=lambda i: scores[i]))
    return picks


@pytest.mark.parametrize("seed", range(3))
def test_each_method_takes_its_share_of_what_is_left(seed):
    available = np.random.default_rng(seed).random(N) < 0.7
    acquired = acquire(mixture(bald, entropy, shares=(0.7, 0.3)), LOG_PROBS, B, available)
    assert acquired.indices.tolist() == in_turn(available, (SCORES[bald], 7), (SCORES[entropy], 3))
    assert acquired.info["part"].tolist() == [0] * 7 + [1] * 3
    own = [SCORES[bald if i < 7 else entropy][row] for i, row in enumerate(acquired.indices)]
    np.testing.assert_allclose(acquired.scores, own, atol=1e-5)


def test_a_single_method_is_itself():
    given = LOG_PROBS, B, None, FEATURES, FEATURES[:2] + 0.1
    mixed, alone = acquire(mixture(core_set()), *given), acquire(core_set(), *given)
    assert mixed.indices.tolist() == alone.indices.tolist()
    np.testing.assert_array_equal(mixed.scores, alone.scores)


@pytest.mark.parametrize("shares", [(0.8, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.1, 0.65, 0.05, 0.2), (0.999, 0.001)])
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_shares_are_exact_in_the_mean_and_within_one_row(shares, batch_size):
    counts = np.asarray(jax.vmap(lambda key: jnp.stack(slots(key, shares, batch_size)[0]))(KEYS))
    exact = np.array(shares) * batch_size
    assert (counts.sum(1) == batch_size).all()
    assert (np.abs(counts - exact) < 1).all()
    assert (counts <= slots(KEYS[0], shares, batch_size)[1]).all()
    spread = np.sqrt((exact % 1) * (1 - exact % 1) / len(KEYS))
    assert (np.abs(counts.mean(0) - exact) <= 4 * spread + 1e-4).all()


def test_in_a_batch_of_one_a_method_chooses_with_the_probability_of_its_share():
    acquisition = mixture(bald, random(), shares=(0.8, 0.2))
    summary, available = (jnp.arange(5.0), jnp.zeros(5)), jnp.array([True, True, True, True, False])
    nobody = Round(KEYS[0], None, None)
    picks = jax.vmap(lambda key: acquisition.select(key, nobody, summary, available, 1).indices[0])(KEYS)
    share = np.bincount(picks, minlength=5) / len(KEYS)
    np.testing.assert_allclose(share, [0.05, 0.05, 0.05, 0.85, 0.0], atol=0.02)


@pytest.mark.parametrize("left", [1, 3, 7])
def test_a_short_pool_is_emptied_and_the_rest_scores_minus_infinity(left):
    acquisition = mixture(bald, core_set(), random(), shares=(0.4, 0.4, 0.2))
    summary = jnp.asarray(SCORES[bald]), (jnp.asarray(FEATURES),), jnp.zeros(N)
    buffer = Labelled(jnp.zeros((2, 2)), jnp.zeros(2, int), jnp.ones(2), jnp.arange(2), jnp.asarray(1))
    round = Round(KEYS[0], None, Data(buffer), None, (None, (jnp.zeros((2, 2)),), None))
    available = np.isin(np.arange(N), np.random.default_rng(left).permutation(N)[:left])
    acquired = acquisition.select(KEYS[1], round, summary, jnp.asarray(available), 8)
    assert len(set(acquired.indices.tolist())) == 8
    assert set(acquired.indices[:left].tolist()) == set(np.flatnonzero(available))
    assert (acquired.scores[left:] == -np.inf).all()
    assert np.isfinite(acquired.scores[:left]).all()


def test_the_network_is_asked_once_for_all_methods():
    asked = []

    def functions(x):
        asked.append(x)
        return Predictions(x, x[:, 0], x[:, 0])

    summary = mixture(bald, entropy, core_set()).summarise(Round(KEYS[0], functions, None), X, np.arange(N))
    assert len(asked) == 1
    np.testing.assert_allclose(summary[1], SCORES[entropy], atol=1e-5)


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (1.2, -0.2), (1.0, 0.0)])
def test_shares_that_do_not_fit_are_refused(shares):
    with pytest.raises(ValueError, match="shares="):
        mixture(bald, random(), shares=shares)


def test_different_shortlists_are_refused_and_a_common_one_is_kept():
    with pytest.raises(ValueError, match=r"different shortlists \(5 rows, none\)"):
        mixture(prefilter(bald, 5, core_set()), random())
    assert mixture(prefilter(bald, 5, core_set()), prefilter(bald, 5, random())).shortlist == (bald, 5)
    assert prefilter(bald, 9, mixture(bald, random())).shortlist == (bald, 9)
    with pytest.raises(ValueError, match="at least one"):
        mixture()


def test_equal_arguments_make_one_object():
    assert mixture(bald, random()) is mixture(bald, random())
    assert mixture(bald).summarise is not top_k(bald).summarise
