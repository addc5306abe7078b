"""The automatic chunk follows the largest array of a row's prediction, on each kind of device."""

import jax
import numpy as np
import optax
import pytest

from al_jax.engine import chunks
from al_jax.likelihood import categorical
from al_jax.models import MLP, BatchBALDCNN
from al_jax.posteriors import ensemble, mc_dropout
from al_jax.training import Training

TRAINING = Training(optax.adam(1e-3), steps=1)
VECTORS, IMAGES = np.zeros((5, 64), np.uint8), np.zeros((5, 28, 28, 1), np.uint8)


def mlp(width: int):
    return mc_dropout(MLP(10, (width,)), categorical(), TRAINING)


BATCHBALD = mc_dropout(BatchBALDCNN(10), categorical(), TRAINING)


@pytest.mark.parametrize("width", [100, 5000])
def test_the_largest_array_of_a_row_counts(width):
    assert chunks.bytes_of_row(mlp(width), VECTORS, 20) == 20 * width * 4
    assert chunks.bytes_of_row(ensemble(mlp(width), 4), VECTORS, 20) == 20 * width * 4


def test_of_batchbalds_network_it_is_the_second_convolution_of_every_sample():
    assert chunks.bytes_of_row(BATCHBALD, IMAGES, 100) == 100 * 8 * 8 * 64 * 4


@pytest.mark.parametrize(("backend", "small", "large"), [("cpu", 128, 8), ("gpu", 8192, 512), ("tpu", 8192, 512)])
def test_a_chunk_is_a_power_of_two_within_the_budget(monkeypatch, backend, small, large):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert chunks.automatic(mlp(100), VECTORS, 20) == small
    assert chunks.automatic(BATCHBALD, IMAGES, 100) == large
