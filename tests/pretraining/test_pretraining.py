"""Encoders: their losses are the papers', they see no label, they are made once, and they know more than pixels."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs
from sklearn.linear_model import LogisticRegression

from al_jax import data, vocabulary
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.pretraining import Encoder, encoder, rotation, simclr
from al_jax.pretraining.rotation import turned
from al_jax.pretraining.simclr import nt_xent
from al_jax.training import Apply, Minibatch

KEY = jax.random.key(0)
MODULE = importlib.import_module("al_jax.pretraining.encoder")  # its name is also that of its function


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path / "cache"))


def images(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright bars, horizontal or vertical, somewhere in noise: what they are does not change with their place."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, size)
    found = generator.normal(0, 0.3, (size, 12, 12, 1)).astype(np.float32)
    for image, label, place in zip(found, labels, generator.integers(2, 10, size), strict=True):
        image[(slice(None), place) if label else (place, slice(None))] += 2
    return found, labels.astype(np.int32)


@pytest.fixture(scope="module")
def bars() -> Dataset:
    return Dataset("bars", *images(0, 400), *images(1, 200), 2)


@pytest.mark.parametrize("number", [3, 4])
def test_nt_xent_is_equation_1_over_all_views_of_valid_rows(number):
    outputs = np.random.default_rng(0).normal(size=(8, 5))
    valid = np.tile(np.arange(4) < number, 2)
    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    losses = []
    for i in np.flatnonzero(valid):
        j = (i + 4) % 8
        others = [np.exp(unit[i] @ unit[k] / 0.3) for k in np.flatnonzero(valid) if k != i]
        losses.append(-np.log(np.exp(unit[i] @ unit[j] / 0.3) / sum(others)))
    assert float(nt_xent(jnp.asarray(outputs), jnp.asarray(valid), 0.3)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_turns_are_numpy_s_and_the_loss_is_their_cross_entropy():
    found, _ = images(0, 40)
    quarters = np.arange(40) % 4
    expected = np.stack([np.rot90(image, k) for image, k in zip(found, quarters, strict=True)])
    np.testing.assert_array_equal(turned(jnp.asarray(found), jnp.asarray(quarters)), expected)
    seen = []
    apply = Apply(lambda params, key, x: seen.append(x) or jnp.zeros((40, 4)), categorical())
    batch = Minibatch(jnp.asarray(found), None, jnp.ones(40), jnp.ones(40, bool))
    loss, report = rotation().loss(KEY, apply, None, batch, None, 0.0, None)
    assert float(loss) == pytest.approx(np.log(4), rel=1e-5)
    assert 0 < report["turns_known"] < 0.6
    turns = [
        next(k for k in range(4) if np.array_equal(np.rot90(a, k), b)) for a, b in zip(found, seen[0], strict=True)
    ]
    assert set(turns) == {0, 1, 2, 3}


def probe(made: Encoder, dataset: Dataset, rows: int) -> float:
    vectors, test = made.embed(dataset.inputs[:rows]), made.embed(dataset.test_inputs)
    return LogisticRegression(max_iter=1000).fit(vectors, dataset.labels[:rows]).score(test, dataset.test_labels)


def test_simclr_knows_more_than_the_pixels_and_than_it_did_before(bars):
    module = vocabulary.expression("network", "gal_cnn(dropout=0, mean=0, std=1)").make({"num_classes": lambda _: 16})
    trained = encoder(bars, steps=60, minibatch_size=64, network=module)
    flat = bars.inputs.reshape(400, -1), bars.test_inputs.reshape(200, -1)
    pixels = LogisticRegression(max_iter=1000).fit(flat[0][:16], bars.labels[:16]).score(flat[1], bars.test_labels)
    assert probe(trained, bars, 16) > max(pixels, 0.5) + 0.15


def test_it_sees_no_label_is_made_once_and_known_by_rows_and_recipe(bars, monkeypatch, tmp_path):
    small = Dataset("bars", bars.inputs[:60], bars.labels[:60], *images(1, 20), 2)
    options = {"steps": 3, "minibatch_size": 8}
    made = encoder(small, **options)
    assert len(list((tmp_path / "cache" / "encoders").glob("*.msgpack"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_rows", lambda _: pytest.fail("it was trained again"))
        again = encoder(small._replace(labels=1 - small.labels), **options)
    jax.tree.map(np.testing.assert_array_equal, made.params, again.params)
    other = small._replace(inputs=small.inputs + 1)
    for dataset, changed in ((other, {}), (small, {"seed": 1}), (small, {"kind": "rotation"}), (small, {"steps": 4})):
        encoder(dataset, **options | changed)
    assert len(list((tmp_path / "cache" / "encoders").glob("*.msgpack"))) == 5


def test_a_data_set_of_vectors_keeps_everything_else(bars):
    small = Dataset("bars", bars.inputs[:60], bars.labels[:60], *images(1, 20), 2, *images(2, 10))
    found = data.self_supervised(small, steps=2, minibatch_size=8)
    assert found.inputs.shape == (60, 128)
    assert found.test_inputs.shape == (20, 128)
    assert found.validation_inputs.shape == (10, 128)
    np.testing.assert_array_equal(found.labels, small.labels)
    lengths = np.linalg.norm(found.inputs, axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 128**0.5, rtol=1e-5)


def test_vectors_of_rows_that_are_no_images(tmp_path):
    dataset = Dataset("blobs", *blobs(0, 40), *blobs(1, 20), 3)
    made = encoder(dataset, steps=3, minibatch_size=8, network=MLP(8, (6,), 0.0))
    assert made.embed(dataset.inputs).shape == (40, 6)
    with pytest.raises(ValueError, match=r"rotation turns square images \[n, h, h, c\]"):
        encoder(dataset, "rotation", steps=1, minibatch_size=8, network=MLP(4, (6,), 0.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: encoder(d, "moco"), "kind='moco': expected 'simclr' or 'rotation'"),
        (lambda d: encoder(d, steps=0), "steps=0: expected at least 1"),
        (lambda d: encoder(d, minibatch_size=0), "minibatch_size=0: expected at least 1"),
        (lambda d: simclr(0.0), "temperature=0.0: expected a positive number"),
    ],
)
def test_wrong_arguments_are_named(bars, make, words):
    with pytest.raises(ValueError, match=words):
        make(bars)
