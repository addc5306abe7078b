"""Embeddings from a file: the arrays as they are, but for the scale; and words for what is wrong."""

import numpy as np
import pytest

from al_jax import data, vocabulary

RNG = np.random.default_rng(0)
ARRAYS = {
    "inputs": RNG.normal(3, 5, (40, 6)),
    "labels": RNG.integers(3, size=40),
    "test_inputs": RNG.normal(3, 5, (10, 6)),
    "test_labels": RNG.integers(3, size=10),
}


def test_columns_are_standardised_by_the_pool_and_labels_stay(tmp_path):
    constant = np.full((40, 1), 7.0)
    given = ARRAYS | {"inputs": np.hstack([ARRAYS["inputs"], constant])}
    given["test_inputs"] = np.hstack([ARRAYS["test_inputs"], constant[:10]])
    np.savez(tmp_path / "clip.npz", **given)
    found = vocabulary.dataset(f"features('{tmp_path / 'clip.npz'}')")
    np.testing.assert_allclose(found.inputs[:, :6].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.inputs[:, :6].std(0), 1, atol=1e-5)
    assert (found.inputs[:, 6] == 0).all()
    assert (found.test_inputs[:, 6] == 0).all()
    x, mean, std = given["test_inputs"][:, :6], ARRAYS["inputs"].mean(0), ARRAYS["inputs"].std(0)
    np.testing.assert_allclose(found.test_inputs[:, :6], (x - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(found.labels, ARRAYS["labels"])
    assert (found.name, found.num_classes) == ("clip", 3)


def test_labels_that_are_no_whole_numbers_are_a_regression(tmp_path):
    numbers = {"labels": RNG.normal(size=40), "test_labels": RNG.normal(size=10)}
    np.savez(tmp_path / "a.npz", **ARRAYS | numbers)
    found = data.check(data.features(str(tmp_path / "a.npz")))
    assert found.num_classes is None
    np.testing.assert_allclose(found.labels, numbers["labels"], rtol=1e-6)


def test_a_file_that_is_not_there_is_no_npz_or_lacks_an_array_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path=.*none\.npz is not a file; expected an \.npz file with the arrays"):
        data.features(str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(ValueError, match=r"path=.*text\.npz cannot be read"):
        data.features(str(tmp_path / "text.npz"))
    np.savez(tmp_path / "b.npz", inputs=ARRAYS["inputs"], labels=ARRAYS["labels"])
    with pytest.raises(ValueError, match="has inputs, labels and no test_inputs: expected"):
        data.features(str(tmp_path / "b.npz"))
