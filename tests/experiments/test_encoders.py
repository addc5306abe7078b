"""Fixed inputs of the atlas: made without labels, the same every time, and kept by their recipe."""

import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import data
from experiments.atlas import encoders
from experiments.atlas.encoders import encoded, kept, turned


def test_images_are_turned_by_quarters():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 2)).astype(np.uint8)
    found = turned(jnp.asarray(images), jnp.arange(4))
    for k in range(4):
        np.testing.assert_array_equal(found[k], np.rot90(images[k], k))


def test_the_same_rows_are_kept_every_time():
    inputs, labels = np.arange(50)[:, None], np.arange(50)
    first, second = kept(inputs, labels, 20), kept(inputs, labels, 20)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[0][:, 0], first[1])
    assert len(first[1]) == len(set(first[1].tolist())) == 20


@pytest.fixture
def stripes(monkeypatch, tmp_path):
    """Images with a stripe, whose place is the class; no rotation tells it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=160)
    images = rng.normal(100, 10, (160, 16, 16, 1))
    for image, label in zip(images, labels, strict=True):
        image[2 + 5 * label : 4 + 5 * label] += 100
    found = data.Dataset(
        "stripes", images[:120].astype(np.uint8), labels[:120], images[120:].astype(np.uint8), labels[120:], 3
    )
    monkeypatch.setattr(encoders.vocabulary, "dataset", lambda _: found)
    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(encoders, "STEPS", 20)
    monkeypatch.setattr(encoders, "WIDTH", 8)
    return found


def test_vectors_are_made_once_without_a_label_and_read_by_features(stripes, monkeypatch):
    path = encoded("stripes", "rotations")
    found = data.features(path)
    assert found.inputs.shape == (120, 8)
    assert found.test_inputs.shape == (40, 8)
    np.testing.assert_array_equal(np.sort(found.labels), np.sort(stripes.labels))
    with_other_labels = stripes._replace(labels=stripes.labels[::-1].copy())
    monkeypatch.setattr(encoders.vocabulary, "dataset", lambda _: with_other_labels)
    again = data.features(encoded("relabelled", "rotations"))
    np.testing.assert_array_equal(found.inputs, again.inputs)
    monkeypatch.setattr(encoders.vocabulary, "dataset", lambda _: pytest.fail("it was made again"))
    assert encoded("stripes", "rotations") == path
    monkeypatch.setattr(encoders, "STEPS", 21)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        encoded("stripes", "rotations")
