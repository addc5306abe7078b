"""WAAL: a critic that measures a Wasserstein distance, and features that make it small."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs, tiny

from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import point, waal
from al_jax.posteriors.waal import Critic
from al_jax.training import Training, adam, mixup
from al_jax.types import Data, Labelled, Pool

KEY = jax.random.key(0)


def buffer(x, y, count=None) -> Labelled:
    return Labelled(x, y, jnp.ones(len(y)), jnp.arange(len(y)), jnp.asarray(len(y) if count is None else count))


def fitted(posterior, data):
    return jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, data.labelled.inputs), data))()


def sides(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and on which side they lie: labelled ones lie on the left."""
    x = np.random.default_rng(seed).normal(size=(size, 2)).astype(np.float32)
    right = np.arange(size) % 2 == 1
    x[:, 0] = np.abs(x[:, 0]) * np.where(right, 1, -1) + np.where(right, 1, -1)
    return x, right


def test_the_critic_tells_held_out_rows_unlike_the_labelled_ones_from_those_like_them():
    x, right = sides(0, 200)
    labels = (x[:, 1] > 0).astype(np.int32)
    data = Data(buffer(x[~right], labels[~right]), None, Pool(x, jnp.asarray(right)))
    posterior = waal(MLP(2, (16,), 0.0), categorical(), Training(adam(3e-3), steps=500), weight=1e-3)
    state, info = fitted(posterior, data)
    test, unlike = sides(1, 200)
    critic = np.asarray(posterior.predict(state, None, test).extras["critic"])
    above = (critic[unlike][:, None] > critic[~unlike][None]).mean()
    assert above > 0.9, "the area under the curve; 0.5 is chance"
    assert info["distance"] > 0


def test_a_weight_brings_the_features_together():
    """The same critic's distance in units of the features' spread, which the weight cannot shrink for free."""
    x, right = sides(0, 200)
    labels = (x[:, 1] > 0).astype(np.int32)
    data = Data(buffer(x[~right], labels[~right]), None, Pool(x, jnp.asarray(right)))
    gaps = []
    for weight in (1e-4, 1.0):
        posterior = waal(MLP(2, (16,), 0.0), categorical(), Training(adam(3e-3), steps=500), weight=weight)
        state, _ = fitted(posterior, data)
        h = np.asarray(posterior.predict(state, None, x).features)
        gaps.append(np.linalg.norm(h[right].mean(0) - h[~right].mean(0)) / h.std(0).mean())
    assert gaps[1] < 0.5 * gaps[0]


def test_with_weight_zero_or_an_empty_pool_the_network_is_that_of_point():
    x, y = blobs(0, 24)
    training = Training(adam(1e-2), minibatch_size=8, steps=30)
    module = MLP(3, (8, 8), 0.5)
    plain, _ = fitted(point(module, categorical(), training), Data(buffer(x, y)))
    none = Pool(x, jnp.zeros(24, bool))
    for weight, pool in ((0.0, Pool(x, jnp.ones(24, bool))), (1.0, none)):
        state, info = fitted(waal(module, categorical(), training, weight=weight), Data(buffer(x, y), None, pool))
        for one, other in zip(jax.tree.leaves(state.network), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert info["distance"] == 0


def test_slopes_of_the_critic_are_held_near_one():
    x, right = sides(0, 200)
    data = Data(buffer(x[~right], right[~right].astype(np.int32)), None, Pool(x, jnp.asarray(right)))
    slopes = []
    for penalty in (0.0, 10.0):
        posterior = waal(MLP(2, (16,), 0.0), categorical(), Training(adam(1e-2), steps=500), penalty=penalty)
        state, _ = fitted(posterior, data)
        h = np.asarray(posterior.predict(state, None, x).features)
        rng = np.random.default_rng(0)
        share = rng.random((100, 1))
        between = share * h[right] + (1 - share) * h[~right]

        def value(h, params=state.critic):
            return Critic().apply({"params": params}, h[None])[0]

        slopes.append(np.linalg.norm(jax.vmap(jax.grad(value))(jnp.asarray(between)), axis=1).mean())
    assert abs(slopes[1] - 1) < 0.3
    assert slopes[0] > 3


def test_labels_of_available_rows_change_nothing():
    x, y = blobs(0, 24)
    pool = Pool(x, jnp.arange(24) >= 12)
    posterior = tiny("waal")
    one, _ = fitted(posterior, Data(buffer(x, y, 12), None, pool))
    other, _ = fitted(posterior, Data(buffer(x, np.r_[y[:12], (y[12:] + 1) % 3], 12), None, pool))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


class Nameless(nn.Module):
    """A network that names no features."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(4)(x)))


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="expected one without an objective"):
        tiny("waal", Training(adam(1e-2), steps=5, objective=mixup()))
    for name in ("weight", "penalty"):
        with pytest.raises(ValueError, match=f"{name}=-1.0: expected 0 or more"):
            waal(MLP(3, (8,), 0.0), categorical(), Training(adam(1e-2), steps=5), **{name: -1.0})
    posterior = waal(Nameless(), categorical(), Training(adam(1e-2), steps=5))
    with pytest.raises(ValueError, match="Nameless names no `features`"):
        posterior.init(KEY, blobs(0, 2)[0])
