"""Training noise of the variational layers has the mean and the variance of a layer with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.models import Dropout, VariationalConv, VariationalDense
from al_jax.posteriors.variational import draw_weights

KEY = jax.random.key(0)
IMAGES = jax.random.normal(jax.random.key(1), (3, 4, 4, 2))


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (VariationalDense(2, initial_std=0.4), IMAGES[:, 0, 0]),
        (VariationalConv(2, (3, 3), initial_std=0.4), IMAGES),
        (VariationalConv(2, (2, 2), strides=2, padding="VALID", initial_std=0.4), IMAGES),
    ],
)
def test_noise_while_training_has_the_moments_of_whole_weight_draws(layer, x):
    params = layer.init(KEY, x)
    keys = jax.random.split(KEY, 8000)
    noisy = jax.vmap(lambda key: layer.apply(params, x, rngs={"local": key}))(keys)
    drawn = jax.vmap(lambda key: layer.apply(draw_weights(key, params), x))(keys)
    deviation = np.asarray(drawn.std(0))
    np.testing.assert_allclose(noisy.mean(0), layer.apply(params, x), atol=5 * deviation.max() / np.sqrt(8000))
    np.testing.assert_allclose(noisy.std(0), deviation, rtol=0.06)


@pytest.mark.parametrize("layer", [VariationalDense(2, initial_std=0.4), VariationalConv(2, (3, 3), initial_std=0.4)])
def test_rows_of_a_minibatch_have_noise_of_their_own(layer):
    x = jnp.repeat(IMAGES[:1], 2, axis=0)
    params = layer.init(KEY, x)
    a, b = layer.apply(params, x, rngs={"local": KEY})
    assert jnp.abs(a - b).max() > 1e-3


def test_a_mean_only_layer_is_the_ordinary_layer():
    layer = VariationalConv(2, (3, 3), strides=(2, 1))
    params = layer.init(KEY, IMAGES)["params"]
    ordinary = nn.Conv(2, (3, 3), strides=(2, 1))
    theirs = {"params": {"kernel": params["kernel"].mean, "bias": params["bias"].mean}}
    np.testing.assert_allclose(layer.apply({"params": params}, IMAGES), ordinary.apply(theirs, IMAGES), atol=1e-5)


@pytest.mark.parametrize("rate", [0.5, 0.25, 0.75, 0.125, 0.3])
def test_dropout_drops_at_its_rate_independently_and_keeps_the_mean(rate):
    x = jnp.ones((400, 37))
    y = np.asarray(Dropout(rate).apply({}, x, rngs={"dropout": KEY}))
    kept = y > 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    error = np.sqrt(rate * (1 - rate))
    assert abs(kept.mean() - (1 - rate)) < 5 * error / np.sqrt(kept.size)
    assert np.abs(kept.mean(0) - (1 - rate)).max() < 5 * error / np.sqrt(400), "every column"
    correlations = np.corrcoef(kept.T) - np.eye(37)
    assert np.abs(correlations).max() < 5 / np.sqrt(400), "bits of one random word are independent"
    assert len(np.unique(kept, axis=0)) > 370, "every row has a mask of its own"


def test_dropout_that_is_off_does_nothing_and_needs_no_key():
    np.testing.assert_array_equal(Dropout(0.5, deterministic=True).apply({}, IMAGES), IMAGES)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, IMAGES), IMAGES)
