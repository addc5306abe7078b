"""Training noise of the variational layers has the mean and the variance of a layer with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.models import VariationalConv, VariationalDense
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
