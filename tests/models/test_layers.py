"""Training noise of the variational layers has the mean and the variance of a layer with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.models import ChannelDropoutConv, Dropout, VariationalConv, VariationalDense, max_pool
from al_jax.models.forward import completed
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
    drawn = jax.vmap(lambda key: layer.apply(completed(draw_weights(key, params), params), x))(keys)
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


@pytest.mark.parametrize("shape", [(3, 6, 8, 2), (2, 5, 7, 3)])
def test_max_pool_is_flax_s_in_values_and_gradients(shape):
    x = jax.random.normal(KEY, shape)

    def results(pool):
        return pool(x), jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))(x)

    theirs = results(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    for a, b in zip(results(max_pool), theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_dropout_of_channels_keeps_or_drops_each_whole():
    x = 1.0 + jnp.arange(200 * 4 * 4 * 6.0).reshape(200, 4, 4, 6)
    y = np.asarray(Dropout(0.25, broadcast_dims=(1, 2)).apply({}, x, rngs={"dropout": KEY}))
    kept = y[:, 0, 0] > 0
    np.testing.assert_allclose(y, np.where(kept[:, None, None], x / 0.75, 0), rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    assert len(np.unique(kept, axis=0)) > 10, "each row has a mask of its own"


@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "VALID"}])
def test_channel_dropout_conv_is_channel_dropout_and_then_the_ordinary_convolution(options):
    x = jax.random.normal(KEY, (3, 6, 6, 4))
    ordinary = nn.Conv(5, (3, 3), **options)
    layer = ChannelDropoutConv(5, (3, 3), 0.5, **options)
    params = jax.tree.map(lambda leaf: leaf + 0.1, ordinary.init(KEY, x))
    off = layer.clone(deterministic=True)
    np.testing.assert_allclose(off.apply(params, x), ordinary.apply(params, x), atol=1e-5)
    y = layer.apply(params, x, rngs={"dropout": KEY})
    masks = 2.0 * np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T  # all 16
    possible = np.stack([ordinary.apply(params, x * mask) for mask in masks])
    distances = np.abs(possible - y).max(axis=(2, 3, 4))  # [16, rows]
    assert distances.min(0).max() < 1e-5, "every row saw one of the masks"
