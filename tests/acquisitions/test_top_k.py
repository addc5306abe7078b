import inspect
import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax.acquisitions import bald, entropy, prefilter, random, stochastic_top_k, top_k
from al_jax.pool import candidates
from al_jax.types import Acquisition, Data, Labelled, Pool, Predictions, Round

KEYS = jax.random.split(jax.random.key(0), 4000)
KEY = KEYS[0]
N = 6
AVAILABLE = jnp.array([1, 1, 0, 1, 1, 0], bool)
FREE = [0, 1, 3, 4]
POSITIVE = jnp.array([0.5, 2.0, 9.0, 1.0, 0.25, 5.0])
SIGNED = jnp.array([-1.0, 0.5, 9.0, 0.0, -0.3, 5.0])
KINDS = ["power", "softmax", "softrank"]
TOP_K = top_k(bald)


def raises(x):
    raise AssertionError("the network was evaluated")


def a_round(functions=raises):
    inputs = jnp.zeros((N, 2))
    nobody = Labelled(inputs[:1], jnp.zeros(1, int), jnp.zeros(1), jnp.full(1, -1), jnp.asarray(0))
    return Round(KEY, functions, Data(nobody, None, Pool(inputs, AVAILABLE)))


ROUND = a_round()


def look_up(x):
    return Predictions(x, x[:, 0])


@partial(jax.jit, static_argnums=0)
def drawn(acquisition, scores):
    return jax.vmap(lambda key: acquisition.select(key, ROUND, scores, AVAILABLE, N).indices)(KEYS)


def orders(acquisition, scores):
    """[4000, 6]: the order in which all rows are picked, one draw per key."""
    return np.asarray(drawn(acquisition, scores))


stochastic = cache(partial(stochastic_top_k, bald))  # so that each kind and coldness is compiled once


def fits(counts, probabilities):
    expected = np.asarray(probabilities, np.float64)
    return stats.chisquare(counts, expected / expected.sum() * np.sum(counts)).pvalue > 1e-3


# top_k


def test_top_k_is_the_b_best_available_rows_best_first():
    acquired = TOP_K.select(KEY, ROUND, POSITIVE, AVAILABLE, 3)
    assert acquired.indices.tolist() == [1, 3, 0]
    assert acquired.scores.tolist() == [2.0, 1.0, 0.5]


def test_top_k_scores_positions_beyond_the_available_ones_minus_infinity():
    acquired = TOP_K.select(KEY, ROUND, POSITIVE, AVAILABLE, N)
    assert sorted(acquired.indices.tolist()) == list(range(N))
    assert acquired.scores.tolist() == [2.0, 1.0, 0.5, 0.25, -np.inf, -np.inf]


def test_top_k_breaks_ties_by_its_key_and_by_no_hidden_seed():
    picks = orders(TOP_K, jnp.ones(N))
    pairs = list(itertools.permutations(FREE, 2))
    assert fits([np.sum((picks[:, :2] == pair).all(1)) for pair in pairs], np.ones(len(pairs)))
    again = TOP_K.select(KEY, ROUND, jnp.ones(N), AVAILABLE, N).indices
    np.testing.assert_array_equal(picks[0], again)


def test_top_k_refuses_a_batch_larger_than_what_it_chooses_from():
    with pytest.raises(ValueError, match="batch_size=7"):
        TOP_K.select(KEY, ROUND, POSITIVE, AVAILABLE, 7)


@pytest.mark.parametrize("lift", [top_k, stochastic_top_k])
def test_the_summary_is_one_float_per_row(lift):
    log_probs = jax.nn.log_softmax(jax.random.normal(KEY, (7, 3, 4)))
    summary = lift(entropy).summarise(a_round(look_up), log_probs, jnp.arange(7))
    np.testing.assert_allclose(summary, entropy(log_probs), atol=1e-6)


# stochastic_top_k


def weights(kind, scores, coldness):
    """Kirsch et al. 2023, table 1: the probability of each available row, up to a factor."""
    free = [float(scores[i]) for i in FREE]
    if kind == "power":
        return np.array([max(s, 0.0) ** coldness for s in free])
    if kind == "softmax":
        return np.exp(coldness * np.array(free))
    return np.array([float(1 + sum(t > s for t in free)) ** -coldness for s in free])


@pytest.mark.parametrize("coldness", [1.0, 2.5])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_drawn_without_replacement_with_the_published_probabilities(kind, coldness):
    scores = POSITIVE if kind == "power" else SIGNED
    picks = orders(stochastic(kind, coldness), scores)
    w = weights(kind, scores, coldness)
    assert fits([np.sum(picks[:, 0] == i) for i in FREE], w)
    # two picks: the second is drawn from what the first one left
    pairs = list(itertools.permutations(range(4), 2))
    probabilities = [w[i] / w.sum() * w[j] / (w.sum() - w[i]) for i, j in pairs]
    counts = [np.sum((picks[:, 0] == FREE[i]) & (picks[:, 1] == FREE[j])) for i, j in pairs]
    assert fits(counts, probabilities)


def test_the_default_is_power_with_coldness_one():
    np.testing.assert_array_equal(orders(stochastic(), POSITIVE), orders(stochastic("power", 1.0), POSITIVE))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_distinct_the_unavailable_last_and_scores_unperturbed(kind):
    acquisition = stochastic(kind, 1.0)
    picks = orders(acquisition, POSITIVE)
    assert (np.sort(picks, axis=1) == np.arange(N)).all()
    assert (np.sort(picks[:, :4], axis=1) == FREE).all()
    acquired = acquisition.select(KEY, ROUND, POSITIVE, AVAILABLE, N)
    np.testing.assert_array_equal(acquired.scores[:4], POSITIVE[acquired.indices[:4]])
    assert (acquired.scores[4:] == -jnp.inf).all()


@pytest.mark.parametrize("kind", KINDS)
def test_large_coldness_is_top_k(kind):
    picks = orders(stochastic(kind, 1e4), POSITIVE)
    assert (picks[:, :4] == [1, 3, 0, 4]).all()


def test_power_never_prefers_a_row_of_score_zero_or_less_to_one_above():
    picks = orders(stochastic("power", 1.0), SIGNED)
    assert (picks[:, 0] == 1).all()  # the only available positive one
    assert fits([np.sum(picks[:, 1] == i) for i in (0, 3, 4)], np.ones(3))  # the others count as 0: they tie


@pytest.mark.parametrize(("kind", "low"), [("power", 0.0), ("softmax", -jnp.inf)])
def test_coldness_zero_is_uniform_whatever_the_scores(kind, low):
    picks = orders(stochastic(kind, 0.0), jnp.where(jnp.arange(N) == 0, low, 1.0))
    assert fits([np.sum(picks[:, 0] == i) for i in FREE], np.ones(4))


def test_softrank_ranks_only_available_rows_and_breaks_equal_ranks_at_random():
    scores = jnp.array([1.0, 1.0, 9.0, 0.0, -1.0, 5.0])  # ranks 1 and 2 are shared by rows 0 and 1
    picks = orders(stochastic("softrank", 1.0), scores)
    assert fits([np.sum(picks[:, 0] == i) for i in FREE], [0.75, 0.75, 1 / 3, 1 / 4])


def test_softrank_depends_on_the_order_of_scores_alone():
    acquisition = stochastic("softrank", 1.0)
    np.testing.assert_array_equal(orders(acquisition, SIGNED), orders(acquisition, jnp.exp(7 * SIGNED)))


@pytest.mark.parametrize("kind", ["Power", "gumbel", ""])
def test_an_unknown_kind_is_an_error(kind):
    with pytest.raises(ValueError, match=f"kind='{kind}'"):
        inspect.unwrap(stochastic_top_k)(bald, kind)  # past the type checker, where the suite runs with one


@pytest.mark.parametrize(
    "coldness",
    [-1.0, float("nan"), float("inf")],
)
def test_a_coldness_that_is_no_inverse_temperature_is_an_error(coldness):
    with pytest.raises(ValueError, match="coldness="):
        stochastic_top_k(bald, "power", coldness)


# random


def test_random_is_uniform_over_the_batches_of_available_rows():
    picks = orders(random(), random().summarise(a_round(), jnp.zeros((N, 2)), jnp.arange(N)))
    triples = list(itertools.permutations(FREE, 3))
    counts = [np.sum((picks[:, :3] == triple).all(1)) for triple in triples]
    assert sum(counts) == len(KEYS)
    assert fits(counts, np.ones(len(triples)))


def test_random_does_not_pay_for_inference():
    acquisition, round = random(), a_round()
    assert acquisition.init(KEY, round.data.pool) is None
    assert acquisition.prepare(KEY, round) is None
    found = candidates(KEY, acquisition, round, round.data.pool.inputs, AVAILABLE, 4)
    acquired = acquisition.select(KEY, round, found.summary, found.available, 4)
    assert set(acquired.indices.tolist()) == set(FREE)


# prefilter


def test_a_prefilter_sets_the_shortlist_and_nothing_else():
    acquisition = prefilter(entropy, 3, TOP_K)
    assert acquisition.shortlist == (entropy, 3)
    assert acquisition._replace(shortlist=None) == TOP_K


@pytest.mark.parametrize("m", [0, -1])
def test_a_prefilter_to_no_rows_is_an_error(m):
    with pytest.raises(ValueError, match=f"m={m}"):
        prefilter(bald, m, TOP_K)


def test_a_prefilter_of_a_prefilter_is_an_error():
    with pytest.raises(ValueError, match="acquisition is already restricted to 5 rows"):
        prefilter(bald, 3, prefilter(entropy, 5, TOP_K))


def test_the_prefiltered_acquisition_chooses_among_the_m_best_of_the_score():
    first = jnp.array([0.1, 0.9, 1.0, 0.8, 0.2, 1.0])  # the score that filters: rows 1 and 3 of the available ones
    then = jnp.array([9.0, 1.0, 9.0, 2.0, 9.0, 9.0])  # the one that chooses: 3 before 1
    inputs = jnp.stack([first, then], -1)[:, None]
    round = a_round(look_up)
    inner = Acquisition(lambda round, x, rows: x[:, 0, 1], TOP_K.select)
    acquisition = prefilter(lambda log_probs: log_probs[..., 0, 0], 2, inner)
    found = candidates(KEY, acquisition, round, inputs, AVAILABLE, 4)
    acquired = acquisition.select(KEY, round, found.summary, found.available, 2)
    assert found.rows[acquired.indices].tolist() == [3, 1]
    assert acquired.scores.tolist() == [2.0, 1.0]
