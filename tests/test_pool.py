import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax import pool
from al_jax.acquisitions import bald, prefilter, top_k
from al_jax.pool import best, candidates, stream
from al_jax.types import Acquisition, Data, Labelled, Pool, Predictions, Round

KEYS = jax.random.split(jax.random.key(0), 3000)
KEY = KEYS[0]
N = 10
AVAILABLE = jnp.array([1, 1, 0, 1, 1, 0, 1, 1, 1, 1], bool)


def is_uniform(counts):
    return stats.chisquare(counts).pvalue > 1e-3


# best


choose = jax.jit(best, static_argnums=3)


@jax.jit
def orders(scores, available):
    """[3000, 6]: all rows from best to worst, one draw per key."""
    return jax.vmap(lambda key: best(key, scores, available, 6)[0])(KEYS)


def test_best_takes_the_highest_scores_best_first():
    indices, scores = choose(KEY, jnp.array([1.0, 5.0, 3.0, 4.0]), jnp.ones(4, bool), 3)
    assert indices.tolist() == [1, 3, 2]
    assert scores.tolist() == [5.0, 4.0, 3.0]


def test_unavailable_rows_come_last_whatever_their_score_and_score_minus_infinity():
    available = jnp.array([1, 0, 1, 0], bool)
    indices, scores = choose(KEY, jnp.array([1.0, 9.0, 2.0, jnp.inf]), available, 4)
    assert indices[:2].tolist() == [2, 0]
    assert set(indices[2:].tolist()) == {1, 3}
    assert scores.tolist() == [2.0, 1.0, -np.inf, -np.inf]


def test_an_available_row_that_scores_minus_infinity_still_precedes_an_unavailable_one():
    for key in KEYS[:20]:
        indices, _ = choose(key, jnp.array([-jnp.inf, 1.0, -jnp.inf, 0.0]), jnp.array([1, 0, 1, 1], bool), 3)
        assert indices[0] == 3
        assert set(indices[1:].tolist()) == {0, 2}


@pytest.mark.parametrize("nan", [np.float32("nan"), -np.float32("nan")])
def test_nan_ranks_last_among_the_available(nan):
    scores = jnp.array([nan, 1.0, -jnp.inf, 7.0])
    indices, values = choose(KEY, scores, jnp.array([1, 1, 1, 0], bool), 4)
    assert indices.tolist() == [1, 2, 0, 3]
    np.testing.assert_array_equal(values, [1.0, -np.inf, np.nan, -np.inf])


def test_ties_are_broken_uniformly_and_without_repetition():
    scores, available = jnp.array([2.0, 2.0, 0.0, 2.0, 2.0, 1.0]), jnp.array([1, 1, 1, 0, 1, 1], bool)
    picks = np.asarray(orders(scores, available))[:, :2]
    pairs = list(itertools.permutations([0, 1, 4], 2))
    counts = [np.sum((picks == pair).all(1)) for pair in pairs]
    assert sum(counts) == len(KEYS)
    assert is_uniform(counts)


def test_positive_and_negative_zero_tie():
    first = orders(jnp.array([0.0, -0.0, -1.0, -1.0, -1.0, -1.0]), jnp.ones(6, bool))[:, 0]
    assert is_uniform(np.bincount(first, minlength=2))


def test_ties_are_broken_by_the_key_alone_not_by_a_hidden_seed():
    def tied(key):
        return choose(key, jnp.zeros(100), jnp.ones(100, bool), 5)[0].tolist()

    assert tied(KEY) == tied(KEY)
    assert tied(KEY) != tied(KEYS[1])


def test_the_order_of_unequal_scores_does_not_depend_on_the_key():
    scores = jnp.array([0.3, -1.0, 7.0, 2.0, 2.1, -0.5])
    assert (orders(scores, jnp.ones(6, bool)) == np.argsort(-scores)).all()


def test_a_batch_of_all_rows_is_a_permutation_even_when_none_is_available():
    indices, scores = best(KEY, jnp.arange(5.0), jnp.zeros(5, bool), 5)
    assert sorted(indices.tolist()) == list(range(5))
    assert (scores == -jnp.inf).all()


@pytest.mark.parametrize("size", [64, 100, 129])
@pytest.mark.parametrize("few", [False, True], ids=["all available", "three available"])
def test_in_blocks_it_chooses_what_one_sort_chooses(monkeypatch, size, few):
    monkeypatch.setattr(pool, "BLOCK", 32)
    scores = np.random.default_rng(size).permutation(size).astype(np.float32)
    available = np.isin(np.arange(size), [1, 40, 63]) if few else np.ones(size, bool)
    indices, values = best(KEY, jnp.asarray(scores), jnp.asarray(available), 8)
    expected = np.argsort(np.where(available, -scores, np.inf))[: 3 if few else 8]
    np.testing.assert_array_equal(indices[: len(expected)], expected)
    np.testing.assert_array_equal(values[: len(expected)], scores[expected])
    assert np.isneginf(values[len(expected) :]).all()
    assert len(set(indices.tolist())) == 8
    assert indices.max() < size, "what fills the last block is never chosen"


def test_ties_across_blocks_are_broken_uniformly(monkeypatch):
    monkeypatch.setattr(pool, "BLOCK", 8)
    tied = jax.jit(jax.vmap(lambda key: best(key, jnp.zeros(20), jnp.ones(20, bool), 2)[0]))(KEYS)
    assert is_uniform(np.bincount(np.asarray(tied).ravel(), minlength=20))
    assert (tied[:, 0] != tied[:, 1]).all()


def test_a_batch_of_more_rows_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"batch_size=4: expected 1 to 3"):
        best(KEY, jnp.zeros(3), jnp.ones(3, bool), 4)


# stream


jitted_stream = jax.jit(stream, static_argnums=(0, 3))
INPUTS = {"image": jnp.arange(N * 6.0).reshape(N, 2, 3), "mask": jnp.arange(N) % 3 == 0}


def describe(x, rows):
    return {"sum": x["image"].sum((1, 2)) * x["mask"] + rows, "row": (rows, x["image"][:, 0])}


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 10, 64])
def test_a_stream_equals_one_big_call_whether_or_not_the_chunks_divide_the_pool(chunk_size):
    whole = describe(INPUTS, jnp.arange(N))
    streamed = jitted_stream(describe, INPUTS, jnp.arange(N), chunk_size)
    jax.tree.map(np.testing.assert_array_equal, streamed, whole)


@pytest.mark.parametrize("chunk_size", [2, 3, 64])
def test_a_stream_over_some_rows_gives_them_in_that_order(chunk_size):
    rows = jnp.array([7, 0, 3, 9, 3])
    whole = describe(jax.tree.map(lambda leaf: leaf[rows], INPUTS), rows)
    jax.tree.map(np.testing.assert_array_equal, jitted_stream(describe, INPUTS, rows, chunk_size), whole)


@pytest.mark.parametrize(("chunk_size", "expected"), [(4, 4), (10, 10), (64, 10)])
def test_every_chunk_has_one_shape_never_longer_than_the_rows(chunk_size, expected):
    shapes = []

    def record(x, rows):
        shapes.append(rows.shape)
        return rows

    stream(record, INPUTS, jnp.arange(N), chunk_size)
    assert set(shapes) == {(expected,)}


def test_streaming_is_traced_once_however_many_chunks():
    traces = []
    jax.jit(lambda x: stream(lambda x, rows: traces.append(0) or rows, x, jnp.arange(N), 1))(INPUTS)
    assert len(traces) == 1


# candidates


LOG_PROBS = jax.nn.log_softmax(3 * jax.random.normal(jax.random.key(1), (N, 4, 3)))
SCORES = np.asarray(bald(LOG_PROBS))


def a_round(inputs=LOG_PROBS, available=AVAILABLE, functions=None):
    """Functions that look up each row's predictions: inputs are log-probabilities."""
    nobody = Labelled(inputs[:1], jnp.zeros(1, int), jnp.zeros(1), jnp.full(1, -1), jnp.asarray(0))
    functions = functions or (lambda x: Predictions(x, x[:, 0]))
    return Round(KEY, functions, Data(nobody, None, Pool(inputs, available)))


@partial(jax.jit, static_argnames=("acquisition", "chunk_size", "subset"))
def jitted(key, available, acquisition, chunk_size, subset):
    return candidates(key, acquisition, a_round(available=available), LOG_PROBS, available, chunk_size, subset)


def summarised(acquisition, key=KEY, available=AVAILABLE, chunk_size=4, subset=None):
    return jitted(key, available, acquisition, chunk_size, subset)


def best_available(m, rows=range(N)):
    return set(sorted((i for i in rows if AVAILABLE[i]), key=lambda i: -SCORES[i])[:m])


BALD = top_k(bald)
ROWS = Acquisition(lambda round, x, rows: rows, BALD.select)  # its summary is the pool row
BEST_TWO, BEST_FOUR = prefilter(bald, 2, ROWS), prefilter(bald, 4, BALD)


def test_all_rows_are_candidates_by_default_with_their_own_summaries():
    found = summarised(BALD)
    np.testing.assert_array_equal(found.rows, np.arange(N))
    np.testing.assert_array_equal(found.available, AVAILABLE)
    np.testing.assert_allclose(found.summary, SCORES, atol=1e-6)


def test_a_subset_holds_that_many_distinct_rows_all_available_with_their_own_summaries():
    for key in KEYS[:10]:
        found = summarised(BALD, key, subset=5)
        assert len(set(found.rows.tolist())) == 5
        assert AVAILABLE[found.rows].all()
        assert found.available.all()
        np.testing.assert_allclose(found.summary, SCORES[found.rows], atol=1e-6)


def test_summarise_receives_pool_rows_not_ranks_within_the_subset():
    found = summarised(ROWS, subset=5)
    np.testing.assert_array_equal(found.summary, found.rows)
    assert found.rows.max() >= 5


def test_a_pick_from_a_subset_is_mapped_to_its_pool_row():
    last = np.asarray(AVAILABLE) & (np.arange(N) > 6)  # pool rows 7, 8, 9: no rank within the subset can be one
    found = summarised(BALD, available=jnp.asarray(last), subset=3)
    picked = BALD.select(KEY, a_round(), found.summary, found.available, 1)
    assert found.rows[picked.indices[0]] == 7 + np.argmax(SCORES[7:])


def test_a_subset_is_uniform_over_the_available_rows():
    draw = jax.vmap(lambda key: summarised(ROWS, key, subset=1).rows[0])
    counts = np.bincount(draw(KEYS), minlength=N)
    assert counts[~np.asarray(AVAILABLE)].sum() == 0
    assert is_uniform(counts[np.asarray(AVAILABLE)])


def test_a_subset_of_more_rows_than_are_available_marks_the_rest():
    found = summarised(ROWS, subset=9)
    assert set(found.rows[found.available].tolist()) == set(np.flatnonzero(AVAILABLE).tolist())
    assert found.available.sum() == AVAILABLE.sum() == 8


@pytest.mark.parametrize("subset", [N, N + 5])
def test_a_subset_of_the_whole_pool_is_the_whole_pool(subset):
    np.testing.assert_array_equal(summarised(ROWS, subset=subset).rows, np.arange(N))


@pytest.mark.parametrize("m", [1, 3, 8])
def test_a_shortlist_keeps_exactly_the_m_best_available_rows(m):
    found = summarised(prefilter(bald, m, ROWS))
    assert len(found.rows) == m
    assert set(found.rows.tolist()) == best_available(m)
    assert found.available.all()
    np.testing.assert_array_equal(found.summary, found.rows)


def test_a_shortlist_longer_than_the_available_rows_marks_the_rest():
    found = summarised(prefilter(bald, 9, ROWS))
    assert set(found.rows[found.available].tolist()) == best_available(8)
    assert found.available.sum() == 8


def test_a_shortlist_within_a_subset_keeps_the_best_of_that_subset():
    for key in KEYS[:5]:
        subset = summarised(ROWS, key, subset=6).rows.tolist()
        found = summarised(BEST_TWO, key, subset=6)
        assert set(found.rows.tolist()) == best_available(2, subset)


def test_ties_at_the_end_of_a_shortlist_are_broken_by_the_key():
    tied = prefilter(lambda log_probs: jnp.zeros(len(log_probs)), 1, ROWS)
    draw = jax.vmap(lambda key: summarised(tied, key).rows[0])
    assert is_uniform(np.bincount(draw(KEYS), minlength=N)[np.asarray(AVAILABLE)])


@pytest.mark.parametrize("chunk_size", [2, 3, 64])
def test_only_the_shortlist_is_ever_summarised(chunk_size):
    seen, shapes = [], []

    def summarise(round, x, rows):
        shapes.append(rows.shape)
        jax.debug.callback(lambda rows: seen.extend(np.asarray(rows).tolist()), rows)
        return rows

    acquisition = prefilter(bald, 3, Acquisition(summarise, BALD.select))
    jax.block_until_ready(summarised(acquisition, chunk_size=chunk_size))
    jax.effects_barrier()
    assert set(seen) == best_available(3)
    assert set(shapes) == {(min(chunk_size, 3),)}
    assert len(seen) < 3 + chunk_size  # the last chunk is filled by repeating rows of the shortlist


def test_a_shortlist_of_the_whole_pool_costs_no_pass():
    def never(log_probs):
        raise AssertionError("scored")

    np.testing.assert_array_equal(summarised(prefilter(never, N, ROWS)).rows, np.arange(N))


@pytest.mark.parametrize("chunk_size", [1, 3, 64])
def test_the_chunk_size_changes_no_candidate(chunk_size):
    found = summarised(BEST_FOUR, chunk_size=chunk_size, subset=7)
    expected = summarised(BEST_FOUR, chunk_size=N, subset=7)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.summary, expected.summary, atol=1e-5)


def test_scoring_takes_no_memory_that_grows_with_the_pool_but_summaries_and_masks():
    """Read off the compiled program: predictions are 800 bytes a row, and exist for one chunk only."""
    weights = jax.random.normal(KEY, (20, 5, 10))

    def predict(x):
        return Predictions(jax.nn.log_softmax(jnp.einsum("nd,kdc->nkc", x, weights)), x)

    def scored(inputs, available):
        return candidates(KEY, BALD, a_round(inputs, available, predict), inputs, available, 128)

    def temporary(size):
        shapes = jax.ShapeDtypeStruct((size, 5), jnp.float32), jax.ShapeDtypeStruct((size,), bool)
        return jax.jit(scored).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    chunk, size = 128 * 20 * 10 * 4, 2**14
    few, many = temporary(size), temporary(8 * size)
    assert few >= chunk
    assert many - few <= 7 * size * (4 + 1), "a float and a bool a row"
