"""Loss prediction: the paper's ranking loss against loops, and a head that has learned which rows are hard."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs, tiny
from scipy import stats

from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP, GalCNN
from al_jax.models.levels import forward_levels
from al_jax.posteriors import loss_prediction, point
from al_jax.posteriors.loss_prediction import ranking_loss
from al_jax.training import Training, adam, mixup
from al_jax.types import Data, Labelled, Pool

KEY = jax.random.key(0)


def buffer(x, y) -> Labelled:
    return Labelled(x, y, jnp.ones(len(y)), jnp.arange(len(y)), jnp.asarray(len(y)))


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_the_ranking_loss_is_the_papers_over_pairs_of_valid_neighbours(size):
    rng = np.random.default_rng(size)
    predicted, losses = rng.normal(size=size), rng.integers(0, 3, size).astype(float)  # with ties
    valid = rng.random(size) < 0.8
    hinges = []
    for i in range(0, size - 1, 2):
        if valid[i] and valid[i + 1]:
            sign = 1 if losses[i] > losses[i + 1] else -1
            hinges.append(max(0.0, -sign * (predicted[i] - predicted[i + 1]) + 0.7))
    expected = np.mean(hinges) if hinges else 0.0
    found = ranking_loss(*(jnp.asarray(a) for a in (predicted, losses, valid)), 0.7)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def two_halves(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows on the left are of one class by their height, those on the right of any: their loss is large."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (size, 2)).astype(np.float32)
    labels = np.where(x[:, 0] < 0, x[:, 1] > 0, rng.random(size) < 0.5)
    return x, labels.astype(np.int32)


def fitted(posterior, x, y):
    return jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, x), Data(buffer(x, y))))()


def test_the_predicted_loss_orders_test_rows_by_their_loss():
    x, y = two_halves(0, 400)
    posterior = loss_prediction(MLP(2, (32, 32), 0.0), categorical(), Training(adam(3e-3), steps=1500))
    state, info = fitted(posterior, x, y)
    test, labels = two_halves(1, 1000)
    predictions = posterior.predict(state, None, test)
    losses = -np.take_along_axis(np.asarray(predictions.point), labels[:, None], axis=1)[:, 0]
    assert stats.spearmanr(losses, predictions.extras["loss"])[0] > 0.3
    assert info["ranking"] < 1, "what a head that knows nothing has"
    hard, easy = (np.asarray(predictions.extras["loss"])[side] for side in (test[:, 0] > 0.2, test[:, 0] < -0.2))
    assert np.median(hard) > np.quantile(easy, 0.8)


@pytest.mark.parametrize(
    ("module", "likelihood"), [(MLP(3, (8, 8), 0.5), categorical()), (MLP(2, (8,), 0.0), gaussian())]
)
def test_with_weight_zero_the_network_is_that_of_point(module, likelihood):
    x, y = blobs(0, 24)
    y = y if likelihood.outputs is None else y.astype(np.float32)
    training = Training(adam(1e-2), minibatch_size=8, steps=30)
    with_head, _ = fitted(loss_prediction(module, likelihood, training, weight=0.0), x, y)
    plain, _ = fitted(point(module, likelihood, training), x, y)
    for one, other in zip(jax.tree.leaves(with_head.network), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_after_the_stop_the_ranking_loss_moves_the_head_alone():
    x, y = blobs(0, 24)
    training = Training(adam(1e-2), minibatch_size=8, steps=30)
    plain, _ = fitted(point(MLP(3, (8,), 0.0), categorical(), training), x, y)
    stopped, _ = fitted(loss_prediction(MLP(3, (8,), 0.0), categorical(), training, stop=0.0), x, y)
    begun, _ = fitted(loss_prediction(MLP(3, (8,), 0.0), categorical(), training, stop=1.0), x, y)
    start = loss_prediction(MLP(3, (8,), 0.0), categorical(), training).init(KEY, x)
    weight = ("Dense_0", "kernel")
    np.testing.assert_allclose(stopped.network[weight[0]][weight[1]], plain[weight[0]][weight[1]], rtol=1e-4, atol=1e-6)
    assert np.abs(begun.network[weight[0]][weight[1]] - plain[weight[0]][weight[1]]).max() > 1e-3
    assert np.abs(stopped.loss[weight[0]][weight[1]] - start.loss[weight[0]][weight[1]]).max() > 1e-3


def test_hidden_labels_and_the_pool_change_nothing():
    x, y = blobs(0, 24)
    posterior = tiny("loss_prediction")
    labelled = buffer(x, y)._replace(count=jnp.asarray(12))
    fit = jax.jit(lambda data: posterior.fit(KEY, posterior.init(KEY, x), data)[0])
    one = fit(Data(labelled))
    other = fit(Data(labelled._replace(labels=jnp.asarray(np.r_[y[:12], (y[12:] + 1) % 3])), None, Pool(x, y == 0)))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_levels_are_the_rectified_layers_before_the_last_averaged_over_positions():
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 1)).astype(np.float32)
    module = GalCNN(3)
    params = module.init(KEY, x)["params"]
    outputs, levels = forward_levels(module, params, x)
    assert [level.shape for level in levels] == [(2, 32), (2, 32), (2, 128)]
    first = nn.Conv(32, (4, 4), padding="VALID").apply({"params": params["Conv_0"]}, x)
    np.testing.assert_allclose(levels[0], np.maximum(first, 0).mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(levels[-1], outputs.features, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="expected one without an objective"):
        tiny("loss_prediction", Training(adam(1e-2), steps=5, objective=mixup()))
    for name, value in (("weight", -1.0), ("margin", -0.5), ("stop", 1.5)):
        with pytest.raises(ValueError, match=f"{name}={value}: expected 0"):
            loss_prediction(MLP(3, (8,), 0.0), categorical(), Training(adam(1e-2), steps=5), **{name: value})
    linear = loss_prediction(MLP(3, (), 0.0), categorical(), Training(adam(1e-2), steps=5))
    with pytest.raises(ValueError, match="MLP has 1 dense or convolutional layers: expected at least one before"):
        linear.init(KEY, blobs(0, 2)[0])
