"""Regressions on tables: the bundled one, and a file of our own."""

import os
from pathlib import Path

import numpy as np
import pytest

from al_jax import data
from al_jax.data import UCI_NAMES, Dataset, check

SHARED = Path(__file__).parents[3] / "shared" / "uci" / "uci_regression.npz"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with one set of four columns, of which the last is constant."""
    generator = np.random.default_rng(0)
    x = generator.normal(5, 3, size=(50, 4))
    x[:, 3] = 7
    path = tmp_path / "sets.npz"
    np.savez(path, toy_X=x, toy_y=x[:, 0] * 100, lonely_X=x, wrong_X=x, wrong_y=x, nan_X=x * np.nan, nan_y=x[:, 0])
    monkeypatch.setenv("UCI_DATA", str(path))
    return path


def test_diabetes_needs_nothing():
    found = data.load("diabetes")
    assert found.num_classes is None
    assert found.inputs.shape == (354, 10)
    assert found.test_inputs.shape == (88, 10)
    assert found.labels.dtype == np.float32
    assert found.labels.min() == 25


def test_columns_are_standardised_by_the_pool_and_labels_keep_their_units(file):
    found = data.load("uci/toy")
    with np.load(file) as arrays:
        x, y = arrays["toy_X"], arrays["toy_y"]
    assert len(found.labels) + len(found.test_labels) == 50
    np.testing.assert_allclose(found.inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.inputs.std(0), [1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(np.sort(np.concatenate([found.labels, found.test_labels])), np.sort(y), rtol=1e-6)
    shift, scale = np.polyfit(found.inputs[:, 0], found.labels, 1)[::-1]
    np.testing.assert_allclose(found.test_inputs[:, 0] * scale + shift, found.test_labels, rtol=1e-4)
    np.testing.assert_array_equal(found.inputs, data.load("uci/toy").inputs)
    assert x.shape[1] == found.inputs.shape[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("uci/toi", r"dataset='uci/toi' is unknown: did you mean 'uci/toy'"),
        ("uci/lonely", "has lonely_X and no lonely_y"),
        ("uci/wrong", r"wrong_y \[50, 4\]: expected \[n, d\] and \[n\]"),
        ("uci/nan", "nan in .* has NaN or infinite values"),
    ],
)
def test_what_the_file_does_not_hold_is_a_named_error(file, name, message):
    with pytest.raises(ValueError, match=message):
        data.load(name)


def test_a_file_that_is_none_is_a_named_error(tmp_path, monkeypatch):
    monkeypatch.setenv("UCI_DATA", str(tmp_path / "nowhere.npz"))
    with pytest.raises(ValueError, match=r"is not a file; expected an \.npz file"):
        data.load("uci/concrete")
    (tmp_path / "damaged.npz").write_bytes(b"PK no zip")
    monkeypatch.setenv("UCI_DATA", str(tmp_path / "damaged.npz"))
    with pytest.raises(ValueError, match="cannot be read"):
        data.load("uci/concrete")
    monkeypatch.delenv("UCI_DATA")
    with pytest.raises(ValueError, match="UCI_DATA=None is not a file"):
        data.load("uci/concrete")


@pytest.mark.skipif(not SHARED.exists(), reason="the UCI sets are not on this machine")
@pytest.mark.parametrize("name", UCI_NAMES)
def test_the_nine_sets_of_the_literature_are_read(name, monkeypatch):
    monkeypatch.setenv("UCI_DATA", os.fspath(SHARED))
    found = data.load(f"uci/{name}")
    assert found.num_classes is None
    assert len(found.test_labels) == round(0.2 * (len(found.labels) + len(found.test_labels)))


def test_labels_of_a_regression_are_finite_numbers():
    x = np.zeros((4, 2))
    good = Dataset("toy", x, np.array([0.5, -3, 7, 1e6]), x, np.zeros(4), None)
    assert check(good).labels.dtype == np.float32
    with pytest.raises(ValueError, match="labels has NaN or infinite values in 1 rows"):
        check(good._replace(labels=np.array([0.5, np.nan, 1, 2])))
    with pytest.raises(ValueError, match="expected one number per row"):
        check(good._replace(labels=x))


def test_variants_by_class_are_refused_and_validation_rows_are_random():
    diabetes = data.load("diabetes")
    for variant in (lambda: data.noisy_labels(diabetes, 0.1), lambda: data.imbalanced(diabetes, 0.1, [1])):
        with pytest.raises(ValueError, match="diabetes is a regression: expected a data set with classes"):
            variant()
    moved = data.with_validation(diabetes, 54)
    assert (len(moved.labels), len(moved.validation_labels)) == (300, 54)
    everything = np.concatenate([moved.inputs, moved.validation_inputs])
    np.testing.assert_array_equal(np.unique(everything, axis=0), np.unique(diabetes.inputs, axis=0))
    with pytest.raises(ValueError, match=r"size=354: expected 1\.\.353"):
        data.with_validation(diabetes, 354)
    assert len(set(data.initial_rows(0, diabetes.labels, 20, None).tolist())) == 20
