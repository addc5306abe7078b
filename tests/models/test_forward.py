"""What a module must be: every way to write a training switch, and a named error for what has none."""

import warnings
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TRAINING, blobs
from flax import nnx

from al_jax import campaign, data, posteriors
from al_jax.acquisitions import random
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.models.forward import forward, has_dropout, init_params
from al_jax.models.layers import Dropout
from al_jax.posteriors import mc_dropout, point
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)
X, Y = blobs(0, 16)
KEYS = jax.random.split(KEY, 5)


class Switched(nn.Module):
    """Dense, dropout, dense; the subclasses say how dropout is switched."""

    def network(self, x, **how):
        return nn.Dense(3)(nn.Dropout(0.5, **how)(nn.Dense(8)(x)))


class Train(Switched):
    @nn.compact
    def __call__(self, x, train=False):
        return self.network(x, deterministic=not train)


class Training(Switched):
    @nn.compact
    def __call__(self, x, training):
        return self.network(x, deterministic=not training)


class IsTraining(Switched):
    @nn.compact
    def __call__(self, x, is_training=False):
        return self.network(x, deterministic=not is_training)


class Deterministic(Switched):
    @nn.compact
    def __call__(self, x, *, deterministic):
        return self.network(x, deterministic=deterministic)


class Attribute(Switched):
    training: bool = False

    @nn.compact
    def __call__(self, x):
        return self.network(x, deterministic=not self.training)


class Merged(Switched):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic=None):
        return self.network(x, deterministic=nn.merge_param("deterministic", self.deterministic, deterministic))


class Unrelated(Switched):
    """An attribute of that name that is no switch."""

    training: str = "a description"

    @nn.compact
    def __call__(self, x, train=False):
        assert self.training == "a description"
        return self.network(x, deterministic=not train)


class AlwaysOn(Switched):
    @nn.compact
    def __call__(self, x):
        return self.network(x, deterministic=False)


class ByPosition(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(3)(nn.Dropout(0.5)(nn.Dense(8)(x), not train))


class OtherStream(Switched):
    @nn.compact
    def __call__(self, x, train=False):
        return self.network(x, deterministic=not train, rng_collection="noise")


class OwnNoise(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(8)(x)
        return nn.Dense(3)(x + jax.random.normal(self.make_rng("noise"), x.shape) if train else x)


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        attended = nn.MultiHeadDotProductAttention(2, dropout_rate=0.5)(nn.Dense(8)(x[..., None]))
        return nn.Dense(3)(attended.reshape(len(x), -1))


MODULES = (
    *(Train(), Training(), IsTraining(), Deterministic(), ByPosition()),
    *(Attribute(), Attribute(training=True), Merged(), Merged(deterministic=True), AlwaysOn(), Unrelated()),
    *(OtherStream(), OwnNoise(), Attention()),
    nn.Sequential([nn.Dense(8), nn.relu, nn.Dropout(0.5), nn.Dense(3)]),
    nn.Sequential([nn.Dense(8), nn.relu, Dropout(0.5), nn.Dense(3)]),
)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_dropout_is_on_while_training_and_sampling_and_off_else(module):
    params = init_params(module, KEY, X)
    assert has_dropout(module, params, X)
    first, again = (forward(module, params, X).logits for _ in range(2))
    np.testing.assert_array_equal(first, again)
    drawn = jnp.stack([forward(module, params, X, {"dropout": key}).logits for key in KEYS])
    assert jnp.abs(drawn - first).max(axis=(1, 2)).min() > 1e-3, "every draw is another function"
    assert jnp.std(drawn, axis=0).max() > 1e-3
    np.testing.assert_array_equal(drawn[0], forward(module, params, X, {"dropout": KEYS[0]}).logits)


@pytest.mark.parametrize("module", [IsTraining(), MODULES[-2], OtherStream()], ids=lambda module: type(module).__name__)
def test_mc_dropout_takes_any_of_them(module):
    posterior = mc_dropout(module, categorical(), TRAINING)
    state = posterior.init(KEY, X)
    predictions = posterior.predict(state, posterior.sample(KEY, state, 5), X)
    assert np.std(predictions.log_probs, axis=1).max() > 1e-3


class UnknownSwitch(Switched):
    @nn.compact
    def __call__(self, x, learning=False):
        return self.network(x, deterministic=not learning)


class Required(Switched):
    @nn.compact
    def __call__(self, x, temperature):
        return self.network(x, deterministic=True) / temperature


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x + jax.random.normal(self.make_rng("noise"), x.shape))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x), x


class WithoutRows(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x).mean(0)


class Linear(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(X.shape[-1], 3, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (UnknownSwitch(), r"Dropout_0 stays off while the network trains: expected a switch named train or training"),
        (Required(), r"Required: its __call__ needs the argument 'temperature'; expected no other than the rows"),
        (Noisy(), r"Noisy draws random numbers while it does not train .* expected a switch named train"),
        (Pair(), r"Pair returns tuple for \d+ rows: expected one array \[n, C\]"),
        (WithoutRows(), r"WithoutRows returns \[3\] for \d+ rows: expected one array \[n, C\]"),
        (MLP, r"module=MLP: expected an instance of flax\.linen\.Module"),
        (Linear(nnx.Rngs(0)), r"module=Linear: expected an instance of flax\.linen\.Module; .*to_linen\(Class"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_no_module_may_be_is_a_named_error(module, message):
    settings = campaign.Settings(seeds=1, initial_labels=6, max_labels=8, batch_size=2, num_samples=2, chunk_size=8)
    dataset = data.Dataset("blobs", X, Y, *blobs(1, 9), 3)
    with pytest.raises(ValueError, match=message):
        campaign.run(point(module, categorical(), TRAINING), random(), dataset, settings)


class Probabilities(nn.Module):
    function: Any = nn.softmax

    @nn.compact
    def __call__(self, x):
        return self.function(nn.Dense(3)(x)).astype(jnp.float32)


@pytest.mark.parametrize(
    "function", [nn.softmax, jax.jit(nn.softmax), lambda x: jnp.exp(x) / jnp.exp(x).sum(-1)[:, None]]
)
def test_a_network_that_returns_probabilities_is_told_of(function):
    with pytest.warns(RuntimeWarning, match="Probabilities ends in a softmax: expected logits"):
        init_params(Probabilities(function), KEY, X)


@pytest.mark.parametrize("function", [nn.log_softmax, nn.sigmoid, nn.relu, lambda x: x / x.sum(-1, keepdims=True)])
def test_what_only_looks_like_probabilities_is_not(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        init_params(Probabilities(function), KEY, X)


def test_an_nnx_class_is_a_module_of_flax_through_its_bridge():
    posterior = point(nnx.bridge.to_linen(Linear), categorical(), TRAINING)
    state = posterior.init(KEY, X)
    expected = jax.nn.log_softmax(X @ state["layer"]["kernel"] + state["layer"]["bias"])
    np.testing.assert_allclose(posterior.predict(state, None, X).log_probs[:, 0], expected, atol=1e-6)


class Overflowing(nn.Module):
    """Arithmetic before any cast: 200 + 100 is 44 in 8 bits."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)((x + x) / 255))


@pytest.mark.parametrize(
    "kind", ["point", "mc_dropout", "laplace", "svi", "nuts", "nuts_last_layer", "swag", "ensemble"]
)
def test_images_of_8_bits_reach_every_module_as_floats(kind):
    images = np.random.default_rng(0).integers(100, 256, (12, 4), dtype=np.uint8)
    make = getattr(posteriors, kind)
    network = point(Overflowing(), categorical(), TRAINING)
    arguments = (Overflowing(), categorical()) if kind == "nuts" else (Overflowing(), categorical(), TRAINING)
    posterior = make(network, 2) if kind == "ensemble" else make(*arguments)
    states = {}
    for name, x in (("stored", images), ("floats", images.astype(np.float32))):
        rows = jnp.arange(12)
        buffer = Labelled(jnp.asarray(x), jnp.asarray(Y[:12]), jnp.ones(12), rows, jnp.asarray(12))
        state, _ = posterior.fit(KEY, posterior.init(KEY, x), Data(buffer, None, None))
        states[name] = posterior.predict(state, posterior.sample(KEY, state, 3), x).log_probs
    np.testing.assert_array_equal(states["stored"], states["floats"])


def test_tokens_stay_integers():
    class Embedding(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.Embed(7, 5)(x).mean(1))

    tokens = np.random.default_rng(0).integers(0, 7, (12, 4), dtype=np.int32)
    assert forward(Embedding(), init_params(Embedding(), KEY, tokens), tokens).logits.shape == (12, 3)
