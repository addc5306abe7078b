import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import acquisitions
from al_jax.acquisitions import acquire, bald, core_set, prefilter, random, top_k
from al_jax.acquisitions.acquire import Given
from al_jax.types import Acquisition

RNG = np.random.default_rng(0)
N, K, C, D = 12, 5, 3, 2
LOG_PROBS = np.log(RNG.dirichlet(np.ones(C), (N, K)))
FEATURES = RNG.normal(size=(N, D))
LABELLED = RNG.normal(size=(3, D))
BALD, CORE_SET, RANDOM = top_k(bald), core_set(), random()  # once: acquire() compiles once per acquisition
SCORES = np.asarray(bald(jnp.asarray(LOG_PROBS, jnp.float32)))
RANKING = np.argsort(-SCORES)
SOME = np.isin(np.arange(N), RANKING[3:9])  # not the best three


def farthest_first(rows, batch_size, centres=LABELLED):
    centres, picks = list(centres), []
    for _ in range(batch_size):
        left = [i for i in rows if i not in picks]
        picks.append(max(left, key=lambda i: min(((FEATURES[i] - c) ** 2).sum() for c in centres)))
        centres.append(FEATURES[picks[-1]])
    return picks


# What it accepts


@pytest.mark.parametrize(
    "convert", [np.asarray, np.float32, jnp.asarray, np.ndarray.tolist], ids=["float64", "float32", "jax", "list"]
)
def test_predictions_may_be_any_array_or_a_list(convert):
    acquired = acquire(BALD, convert(LOG_PROBS), 4)
    assert acquired.indices.tolist() == RANKING[:4].tolist()
    np.testing.assert_allclose(acquired.scores, SCORES[RANKING[:4]], atol=1e-5)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray, np.ndarray.tolist], ids=["numpy", "jax", "list"])
def test_only_available_rows_are_acquired(convert):
    assert acquire(BALD, LOG_PROBS, 4, available=convert(SOME)).indices.tolist() == RANKING[3:7].tolist()


def test_all_available_rows_may_be_acquired_at_once():
    assert acquire(BALD, LOG_PROBS, int(SOME.sum()), available=SOME).indices.tolist() == RANKING[3:9].tolist()


def test_a_single_deterministic_model_has_k_equal_to_one():
    margins = acquire(top_k(acquisitions.margin), LOG_PROBS[:, :1], 1)
    p = np.sort(np.exp(LOG_PROBS[:, 0]), axis=-1)
    assert margins.indices[0] == np.argmin(p[:, -1] - p[:, -2])


def test_probabilities_of_zero_are_legal():
    certain = np.full((N, K, C), -np.inf)
    certain[:, :, 0] = 0.0
    certain[7, 0] = [-np.inf, 0.0, -np.inf]
    assert acquire(BALD, certain, 1).indices.tolist() == [7]


def test_features_and_labelled_features_reach_the_acquisition():
    acquired = acquire(CORE_SET, LOG_PROBS, 4, features=FEATURES.tolist(), labelled_features=LABELLED)
    assert acquired.indices.tolist() == farthest_first(range(N), 4)


def test_unavailable_rows_are_not_taken_for_labelled_ones():
    rows = np.flatnonzero(SOME)
    acquired = acquire(CORE_SET, LOG_PROBS, 4, SOME, FEATURES, LABELLED)
    assert acquired.indices.tolist() == farthest_first(rows, 4)


def test_no_labelled_rows_is_a_table_of_none():
    acquired = acquire(CORE_SET, LOG_PROBS, 4, features=FEATURES, labelled_features=np.zeros((0, D)))
    first = int(acquired.indices[0])
    assert acquired.scores[0] == np.inf
    rest = [i for i in range(N) if i != first]
    assert acquired.indices[1:].tolist() == farthest_first(rest, 3, centres=[FEATURES[first]])


def test_prefiltered_indices_are_rows_of_what_was_given_not_ranks_in_the_shortlist():
    acquired = acquire(prefilter(bald, 4, CORE_SET), LOG_PROBS, 2, SOME, FEATURES, LABELLED)
    assert acquired.indices.tolist() == farthest_first(RANKING[3:7], 2)


def test_a_prefilter_as_long_as_the_pool_changes_nothing():
    arguments = (LOG_PROBS, 4, SOME, FEATURES, LABELLED)
    jax.tree.map(
        np.testing.assert_array_equal, acquire(prefilter(bald, N, CORE_SET), *arguments), acquire(CORE_SET, *arguments)
    )


def test_memory_and_context_are_made_once_from_the_pool_and_reach_the_summaries():
    acquisition = Acquisition(
        init=lambda key, pool: pool.available.sum(),
        prepare=lambda key, round: round.memory * 10.0,
        summarise=lambda round, x, rows: round.context + rows,
        select=BALD.select,
    )
    acquired = acquire(acquisition, LOG_PROBS, 2, SOME)
    assert acquired.indices.tolist() == np.flatnonzero(SOME)[::-1][:2].tolist()
    np.testing.assert_array_equal(acquired.scores, 10 * SOME.sum() + acquired.indices)


def test_a_pool_longer_than_a_chunk_is_scored_whole():
    n = 5000  # chunks hold 4096 rows
    certain = np.full((n, 2, 2), [0.0, -np.inf])
    certain[4999, 0] = certain[17, 0] = [-np.inf, 0.0]
    assert set(acquire(BALD, certain, 2).indices.tolist()) == {17, 4999}


# Keys


def test_the_key_breaks_ties_and_its_default_is_documented():
    def rows(**key):
        return acquire(RANDOM, LOG_PROBS, 6, **key).indices.tolist()

    assert rows() == rows(key=jax.random.key(0))
    assert len({tuple(rows(key=jax.random.key(seed))) for seed in range(20)}) == 20


# What it refuses


def refuses(match, acquisition=BALD, log_probs=LOG_PROBS, batch_size=2, **options):
    with pytest.raises(ValueError, match=match):
        acquire(acquisition, log_probs, batch_size, **options)


@pytest.mark.parametrize("shape", [(C,), (N, C), (1, N, K, C), (0, K, C), (N, 0, C), (N, K, 0)], ids=str)
def test_predictions_that_are_not_n_k_c(shape):
    refuses("^log_probs has shape", log_probs=np.full(shape, -np.log(C)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_hold_nan_or_plus_infinity(value):
    wrong = LOG_PROBS.copy()
    wrong[7, 1, 2] = value
    refuses("^log_probs holds NaN or .* row 7", log_probs=wrong)


@pytest.mark.parametrize("wrong", [np.exp(LOG_PROBS), LOG_PROBS + 0.01, np.full((N, K, C), -np.inf)])
def test_predictions_that_do_not_sum_to_one(wrong):
    refuses(r"^log_probs\[0, 0\] sums to", log_probs=wrong)


def test_the_message_about_a_sum_names_its_row_and_sample():
    wrong = LOG_PROBS.copy()
    wrong[7, 3] += 0.1
    refuses(r"^log_probs\[7, 3\] sums to 1\.105", log_probs=wrong)


@pytest.mark.parametrize("wrong", [np.ones(N), np.ones(N, int), np.ones(N - 1, bool), np.ones((N, 1), bool), True])
def test_a_mask_that_is_not_one_bool_per_row(wrong):
    refuses("^available is", available=wrong)


@pytest.mark.parametrize(
    ("batch_size", "available"), [(0, None), (-1, None), (N + 1, None), (7, SOME), (1, SOME & ~SOME)]
)
def test_a_batch_the_available_rows_cannot_fill(batch_size, available):
    refuses(f"^batch_size={batch_size}: expected 1 to", batch_size=batch_size, available=available)


@pytest.mark.parametrize("wrong", [FEATURES[:, 0], FEATURES[:-1], FEATURES[None], FEATURES * np.nan, FEATURES * np.inf])
def test_features_that_are_not_one_finite_row_each(wrong):
    refuses("^features has", CORE_SET, features=wrong, labelled_features=LABELLED)


@pytest.mark.parametrize("wrong", [LABELLED[0], LABELLED[:, :1], LABELLED[None], LABELLED * np.nan])
def test_labelled_features_that_are_not_finite_rows_as_wide_as_the_pools(wrong):
    refuses("^labelled_features has", CORE_SET, features=FEATURES, labelled_features=wrong)


def test_an_acquisition_that_reads_what_was_not_given():
    refuses(r"reads features of the pool rows: give acquire\(\) features", CORE_SET, labelled_features=LABELLED)
    refuses(r"reads features of the labelled rows: give acquire\(\) labelled_features", CORE_SET, features=FEATURES)
    reads_point = Acquisition(lambda round, x, rows: round.functions(x).point[:, 0], BALD.select)
    refuses("point of the pool rows", reads_point)


def test_a_batch_larger_than_the_shortlist():
    refuses("batch_size", prefilter(bald, 1, CORE_SET), features=FEATURES, labelled_features=LABELLED)


def test_a_batch_larger_than_the_shortlist_of_a_score():
    refuses("batch_size", prefilter(bald, 1, BALD))


# Given


def test_given_has_what_was_given_and_names_what_was_not():
    log_probs = jnp.asarray(LOG_PROBS)
    given = Given({"log_probs": log_probs})
    assert given.log_probs is log_probs
    with pytest.raises(ValueError, match=r"reads features of the pool rows: give acquire\(\) features"):
        _ = given.features
    with pytest.raises(ValueError, match=r"of the labelled rows: give acquire\(\) labelled_features"):
        _ = Given({}, "labelled_").features


def test_given_is_asked_for_fields_of_predictions_only():
    with pytest.raises(AttributeError, match="logits"):
        _ = Given({}).logits
