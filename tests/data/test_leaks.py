"""Rows that are in two splits are found to the last bit, told of, and leave the pool."""

import warnings

import numpy as np
import pytest
from conftest import TRAINING, blobs

from al_jax import campaign, data
from al_jax.acquisitions import random
from al_jax.campaign.setup import warn_of_leaks
from al_jax.data.leaks import copies, repeats
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import point

X, Y = blobs(0, 48)
TEST_X, TEST_Y = blobs(1, 30)
CLEAN = data.Dataset("blobs", X, Y, TEST_X, TEST_Y, 3)


def test_copies_and_repeats_are_found_to_the_last_bit():
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (200, 100), dtype=np.uint8)  # longer than the bytes that are compared first
    others = rows[[3, 150, 7]].copy()
    others[2, 99] ^= 1
    np.testing.assert_array_equal(np.flatnonzero(copies(rows, others)), [3, 150])
    tree = {"a": rows, "b": np.arange(200)}
    assert not copies(tree, {"a": rows, "b": np.arange(1, 201)}).any(), "all arrays of a row count"
    wider = np.array([[0.5, 1.0], [0.1, 2.0]])  # of another type and, so, another number of bytes
    np.testing.assert_array_equal(copies(wider.astype(np.float32), wider), [True, True])
    np.testing.assert_array_equal(copies(wider, wider.astype(np.float32)), [True, False])
    twice = rows[generator.integers(0, 200, 300)]
    expected = [row.tobytes() in {r.tobytes() for r in twice[:i]} for i, row in enumerate(twice)]
    np.testing.assert_array_equal(repeats(twice), expected)
    assert not repeats(np.unique(rows, axis=0)).any()


def test_the_report_tells_what_may_be_wrong_and_is_short_where_nothing_is():
    clean = data.report(CLEAN)
    assert clean.finding.str.startswith("rows of the").all()
    inputs = np.concatenate([X, np.ones((48, 1), np.float32)], axis=1)
    test = np.concatenate([TEST_X, np.arange(30, dtype=np.float32)[:, None]], axis=1)
    inputs[5], test[[2, 9]] = inputs[4], inputs[[7, 8]]
    found = data.report(data.Dataset("bad", inputs, Y, test, np.where(TEST_Y == 1, 0, TEST_Y), 3))
    told = {(row.split, row.finding): (row.count, row.rows) for row in found.itertuples(index=False)}
    assert told["pool", "rows that equal an earlier one"] == (1, "5")
    assert told["test", "rows that are in the pool, too"] == (2, "2, 9")
    assert told["pool", "columns of one value"] == (1, "")
    assert told["test", "classes without a row: 1"] == (1, "")
    assert told["test", "rows of the largest class, 0"] == (20, "")


def test_test_rows_leave_the_pool_and_the_others_keep_their_numbers():
    leaking = CLEAN._replace(test_inputs=np.concatenate([TEST_X[:28], X[[4, 40]]]))
    mended = data.without_copies(leaking)
    np.testing.assert_array_equal(mended.rows, np.delete(np.arange(48), [4, 40]))
    np.testing.assert_array_equal(mended.inputs, np.delete(X, [4, 40], axis=0))
    with pytest.raises(ValueError, match="every row of the pool of blobs is in another split"):
        data.without_copies(CLEAN._replace(test_inputs=X, test_labels=Y))


def test_a_validation_row_takes_its_copies_out_of_the_pool():
    twice = CLEAN._replace(inputs=np.concatenate([X, X]), labels=np.concatenate([Y, Y]))
    split = data.with_validation(twice, 9)
    assert not copies(split.inputs, split.validation_inputs).any()
    assert len(split.labels) == 96 - 2 * len(np.unique(split.validation_inputs, axis=0)), "both copies of each"


def test_a_campaign_warns_of_test_rows_in_the_pool_and_of_nothing_else():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_leaks(CLEAN)
    leaking = CLEAN._replace(test_inputs=np.concatenate([TEST_X[:28], X[[4, 40]]]))
    settings = campaign.Settings(seeds=1, initial_labels=6, max_labels=6, batch_size=1, num_samples=2)
    posterior = point(MLP(3, (8,), 0.0), categorical(), TRAINING)
    with pytest.warns(RuntimeWarning, match=r"2 of the 30 test rows of blobs are in the pool, too.*without_copies"):
        campaign.run(posterior, random(), leaking, settings)
