from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax.acquisitions import core_set
from al_jax.acquisitions.toolbox.similarities import squared_distances
from al_jax.types import Data, Labelled, Predictions, Round

RNG = np.random.default_rng(0)
N, M, D, B = 12, 6, 3, 4
CORE_SET = core_set()
EVERYWHERE = np.ones(N, bool)
KEYS = jax.random.split(jax.random.key(0), 2000)


def a_round(labelled, count, functions=lambda x: Predictions(None, None, x)):
    """Inputs are their own features; the buffer holds garbage past `count`."""
    buffer = Labelled(labelled, jnp.zeros(M, int), jnp.ones(M), jnp.full(M, -1), jnp.asarray(count))
    return Round(KEYS[0], functions, Data(buffer))


@partial(jax.jit, static_argnums=5)
def jitted(key, features, available, labelled, count, batch_size):
    round = a_round(labelled, count)
    round = round._replace(context=CORE_SET.prepare(key, round))
    return CORE_SET.select(key, round, CORE_SET.summarise(round, features, jnp.arange(N)), available, batch_size)


def select(features, labelled=(), available=EVERYWHERE, batch_size=B, key=KEYS[0]):
    """`labelled [L, D]` in a buffer of M slots whose padding lies exactly on the pool's rows: it must not repel."""
    count = len(labelled)
    buffer = np.concatenate([np.reshape(labelled, (-1, D)), features])[:M]
    features, buffer = jnp.asarray(features, jnp.float32), jnp.asarray(buffer, jnp.float32)
    return jitted(key, features, jnp.asarray(available), buffer, count, batch_size)


def farthest_first(features, labelled, available, batch_size, first=None):
    """Sener & Savarese 2018, algorithm 1, by brute force in float64; `first` when there is nothing to be far from."""
    centres = [np.asarray(row, np.float64) for row in labelled]
    picks, distances = [], []
    for _ in range(batch_size):
        farthest, found = -1.0, None
        for i in range(len(features)):
            if available[i] and i not in picks:
                nearest = min((np.sqrt(((features[i] - c) ** 2).sum()) for c in centres), default=np.inf)
                if nearest > farthest and (centres or i == first):
                    farthest, found = nearest, i
        picks.append(found)
        distances.append(farthest)
        centres.append(features[found])
    return picks, distances


def check(acquired, features, labelled, available=EVERYWHERE):
    picks, distances = farthest_first(features, labelled, available, B, first=int(acquired.indices[0]))
    assert acquired.indices.tolist() == picks
    np.testing.assert_allclose(acquired.scores, distances, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_labelled", [1, 3, M])
def test_core_set_is_farthest_first_from_the_labelled_rows(seed, num_labelled):
    rng = np.random.default_rng(seed)
    features, labelled = rng.normal(size=(N, D)), rng.normal(size=(num_labelled, D))
    check(select(features, labelled), features, labelled)


@pytest.mark.parametrize("seed", range(5))
def test_unavailable_rows_are_not_picked_and_do_not_repel(seed):
    # "not available" does not mean "labelled": taking it so cost 15 points of accuracy.
    rng = np.random.default_rng(seed)
    features, labelled, available = rng.normal(size=(N, D)), rng.normal(size=(2, D)), rng.random(N) < 0.6
    check(select(features, labelled, available), features, labelled, available)


def test_a_row_next_to_an_unavailable_one_is_as_attractive_as_ever():
    features = np.zeros((N, D))
    features[:3, 0] = [10.0, 10.0, 3.0]
    acquired = select(features, np.zeros((1, D)), np.arange(N) != 0, batch_size=2)
    assert acquired.indices.tolist() == [1, 2]
    np.testing.assert_allclose(acquired.scores, [10.0, 3.0], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_without_labelled_rows_the_first_pick_is_at_infinity_and_the_rest_farthest_first(seed):
    features = np.random.default_rng(seed).normal(size=(N, D))
    acquired = select(features, key=KEYS[seed])
    assert acquired.scores[0] == np.inf
    check(acquired, features, ())


def test_without_labelled_rows_the_first_pick_is_uniform_over_the_available_ones():
    features, available = jnp.asarray(RNG.normal(size=(N, D)), jnp.float32), jnp.arange(N) % 3 > 0
    first = jax.jit(jax.vmap(lambda key: jitted(key, features, available, features[:M], 0, 1).indices[0]))(KEYS)
    counts = np.bincount(first, minlength=N)
    assert counts[~np.asarray(available)].sum() == 0
    assert stats.chisquare(counts[np.asarray(available)]).pvalue > 1e-3


def test_rows_that_are_equally_far_tie_at_random():
    features = np.zeros((N, D))
    features[[2, 5, 7], [0, 1, 2]] = 4.0
    picks = [int(select(features, np.zeros((1, D)), key=key).indices[0]) for key in KEYS[:60]]
    assert set(picks) == {2, 5, 7}


def test_picks_are_distinct_even_among_exact_duplicates():
    assert len(set(select(np.ones((N, D)), np.ones((1, D)), batch_size=N).indices.tolist())) == N


@pytest.mark.parametrize("num_labelled", [0, 2])
def test_fewer_available_rows_than_the_batch_are_all_picked_and_the_surplus_scores_minus_infinity(num_labelled):
    available = np.isin(np.arange(N), [3, 8])
    acquired = select(RNG.normal(size=(N, D)), RNG.normal(size=(num_labelled, D)), available)
    assert set(acquired.indices[:2].tolist()) == {3, 8}
    assert len(set(acquired.indices.tolist())) == B
    assert (acquired.scores[:2] > 0).all()
    assert (acquired.scores[2:] == -np.inf).all()


def test_a_batch_of_more_rows_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="batch_size"):
        select(RNG.normal(size=(N, D)), RNG.normal(size=(2, D)), batch_size=N + 1)


def test_distances_never_grow_from_pick_to_pick():
    scores = np.asarray(select(RNG.normal(size=(N, D)), RNG.normal(size=(2, D)), batch_size=N).scores)
    assert (np.diff(scores) <= 1e-5).all()


@pytest.mark.parametrize("slot", [np.nan, 1e30])
def test_padding_of_the_labelled_buffer_has_no_influence(slot):
    features = jnp.asarray(RNG.normal(size=(N, D)), jnp.float32)
    clean = features[:M]
    dirty = clean.at[2:].set(slot)
    expected, acquired = (jitted(KEYS[0], features, jnp.asarray(EVERYWHERE), x, 2, B) for x in (clean, dirty))
    np.testing.assert_array_equal(acquired.indices, expected.indices)
    np.testing.assert_array_equal(acquired.scores, expected.scores)


def test_a_network_without_features_is_an_error_that_says_how_to_name_them():
    round = a_round(jnp.zeros((M, D)), 1, functions=lambda x: Predictions(None, None))
    with pytest.raises(ValueError, match=r"features.*sow"):
        CORE_SET.prepare(KEYS[0], round)
    with pytest.raises(ValueError, match=r"features.*sow"):
        CORE_SET.summarise(round, jnp.zeros((N, D)), jnp.arange(N))


# Distances


def test_squared_distances_are_those_of_a_double_loop_and_never_negative():
    a, b = RNG.normal(size=(5, D)), RNG.normal(size=(4, D))
    expected = [[sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    np.testing.assert_allclose(squared_distances((a,), (b,)), expected, rtol=1e-4, atol=1e-6)
    assert np.asarray(squared_distances((100 * a,), (100 * a,))).min() >= 0.0


def test_the_picks_do_not_depend_on_where_the_origin_lies():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        features, labelled = rng.normal(size=(N, D)) + 1000.0, rng.normal(size=(2, D)) + 1000.0
        check(select(features, labelled), features, labelled)


def test_every_matrix_product_has_the_highest_precision_when_lowered_for_tpu():
    # A TPU would otherwise multiply float32 in bfloat16.
    key, shape = jax.random.key_data(KEYS[0]), jax.ShapeDtypeStruct

    def run(key, features, available, labelled, count):
        return jitted(jax.random.wrap_key_data(key), features, available, labelled, count, B)

    lowered = jax.export.export(jax.jit(run), platforms=("tpu",))(
        key, shape((N, D), jnp.float32), shape((N,), bool), shape((M, D), jnp.float32), shape((), jnp.int32)
    )
    products = [line for line in lowered.mlir_module().splitlines() if "stablehlo.dot_general" in line]
    assert products  # to the labelled rows; to each pick there are differences
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
