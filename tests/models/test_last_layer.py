"""The last layer alone makes of the features what the whole network makes of the rows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_networks import SMALL, images

from al_jax.models import MLP, VariationalDense
from al_jax.models.forward import forward, init_params
from al_jax.models.last_layer import head

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (5, 4))


@pytest.mark.parametrize("name", SMALL)
def test_of_every_network(name):
    module, shape = SMALL[name]
    x = images(shape, 3)
    params = init_params(module, KEY, x)
    outputs = forward(module, params, x)
    np.testing.assert_allclose(head(module, params, x[:1], outputs.features), outputs.logits, atol=1e-5)


def test_of_gaussian_weights_at_their_mean():
    module = MLP(3, (8,), 0.0, dense=VariationalDense)
    params = init_params(module, KEY, X)
    outputs = forward(module, params, X)
    np.testing.assert_allclose(head(module, params, X[:1], outputs.features), outputs.logits, atol=1e-6)


class Odd(nn.Module):
    """Names `features` of several kinds, or ends in something else than a dense layer."""

    kind: str

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(8)(x))
        if self.kind != "silent":
            self.sow("intermediates", "features", h if self.kind == "scaled after" else jnp.tanh(h))
        outputs = nn.Dense(3)(h)
        return outputs * 2.0 if self.kind == "scaled after" else outputs


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("silent", "module=Odd names no `features`"),
        ("another", r"features \[1, 8\] that are not the inputs \[1, 8\] of its last layer, Dense_1"),
        ("scaled after", "Odd does not return what its last dense layer, Dense_1, computes"),
    ],
)
def test_a_network_without_one_is_named(kind, message):
    module = Odd(kind)
    params = init_params(module, KEY, X)
    with pytest.raises(ValueError, match=message):
        head(module, params, X[:1], jnp.ones((2, 8)))
