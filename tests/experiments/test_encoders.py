"""Fixed inputs of the atlas: made without labels, and kept by their recipe."""

import numpy as np
import pytest

from al_jax import data, vocabulary
from experiments.atlas import encoders
from experiments.atlas.arms import SOURCES
from experiments.atlas.encoders import encoded


def test_vectors_are_made_once_and_read_by_features(monkeypatch, tmp_path):
    generator = np.random.default_rng(0)
    vectors, labels = generator.normal(size=(12, 4)), np.arange(12) % 3
    made = []

    def words(name):
        made.append(name)
        return {"inputs": vectors, "labels": labels, "test_inputs": vectors[:5], "test_labels": labels[:5]}

    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path))
    monkeypatch.setitem(encoders.ENCODERS, "words", words)
    path = encoded("some/texts", "words")
    assert encoded("some/texts", "words") == path
    found = data.features(path)
    assert found.inputs.shape == (12, 4)
    np.testing.assert_array_equal(found.labels, labels)
    encoded("others", "words")
    monkeypatch.setattr(encoders, "WIDTH", 127)
    assert encoded("some/texts", "words") != path, "another recipe is another file"
    assert made == ["some/texts", "others", "some/texts"]


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_an_expression_or_has_an_encoder(name):
    source = SOURCES[name]
    assert source.encoder in encoders.ENCODERS if source.encoder else vocabulary.expression("data", source.data).text
