"""Minibatches come from the labelled rows only, each epoch visits every row once; early stopping restores the best."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import blobs

from al_jax.likelihood import categorical
from al_jax.posteriors import point
from al_jax.training import Training, l2, minibatch_rows
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)


def buffer(count: int, capacity: int = 24, weights=None) -> Labelled:
    x, y = blobs(0, capacity)
    weights = jnp.ones(capacity) if weights is None else weights
    return Labelled(jnp.asarray(x), jnp.asarray(y), weights, jnp.arange(capacity), jnp.asarray(count))


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


@pytest.mark.parametrize("count", [1, 7, 24])
def test_with_a_budget_in_steps_every_epoch_visits_every_row_once(count):
    rows = np.asarray(minibatch_rows(KEY, jnp.asarray(count), jnp.asarray(count), 40, 5, 24)).ravel()
    for epoch in rows[: len(rows) // count * count].reshape(-1, count):
        assert sorted(epoch) == list(range(count))
    assert rows.max() < count, "a minibatch is full however few rows are labelled"


@pytest.mark.parametrize("count", [1, 7, 10, 24])
def test_with_a_budget_in_epochs_the_last_minibatch_of_each_is_padded(count):
    steps = -(-count // 5)
    rows = np.asarray(minibatch_rows(KEY, jnp.asarray(count), jnp.asarray(steps * 5), 4 * steps, 5, 24))
    for epoch in rows.reshape(4, -1):
        assert sorted(epoch[:count]) == list(range(count))
        assert (epoch[count:] >= count).all()


def test_shuffles_are_fair():
    firsts = jax.vmap(lambda key: minibatch_rows(key, jnp.asarray(4), jnp.asarray(4), 2, 4, 8)[1, 0])(
        jax.random.split(KEY, 4000)
    )
    counts = np.bincount(firsts, minlength=4)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 0.75)


def test_one_full_batch_step_of_sgd_is_the_gradient_of_the_mean_loss():
    posterior = point(Linear(), categorical(), Training(optax.sgd(0.1), minibatch_size=6, steps=1))
    data = buffer(6)
    state = posterior.init(KEY, data.inputs)
    fitted, info = posterior.fit(KEY, state, Data(data))
    weights, bias = (np.asarray(state["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    x, y = np.asarray(data.inputs[:6], np.float64), np.eye(3)[np.asarray(data.labels[:6])]
    logits = x @ weights + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(fitted["Dense_0"]["kernel"], weights - 0.1 * x.T @ (p - y) / 6, atol=1e-6)
    np.testing.assert_allclose(info["loss"], -(np.log(p) * y).sum(1).mean(), rtol=1e-6)
    assert info["steps"] == 1


def test_a_row_of_weight_zero_has_no_influence():
    posterior = point(Linear(), categorical(), Training(optax.sgd(0.1), minibatch_size=4, epochs=3))
    data = buffer(8, weights=jnp.ones(24).at[5].set(0.0))
    state = posterior.init(KEY, data.inputs)
    other = data._replace(inputs=data.inputs.at[5].set(100.0))
    chex.assert_trees_all_close(*(posterior.fit(KEY, state, Data(d))[0] for d in (data, other)))


def test_steps_grow_with_the_labelled_count_in_one_compilation():
    posterior = point(Linear(), categorical(), Training(optax.adam(1e-2), minibatch_size=5, epochs=4))
    state = posterior.init(KEY, buffer(1).inputs)
    fit = jax.jit(chex.assert_max_traces(posterior.fit, n=1))
    steps = [int(fit(KEY, state, Data(buffer(count)))[1]["steps"]) for count in (0, 1, 5, 6, 24)]
    assert steps == [0, 4, 4, 8, 20]


def evaluations(posterior, data, validation, key=KEY):
    """Validation NLL after each number of periods, by training that long without early stopping."""
    state = posterior.init(KEY, data.inputs)
    fitted, _ = posterior.fit(key, state, Data(data, validation))
    predictions = posterior.predict(fitted, None, validation.inputs)
    return float(categorical().metrics(predictions, validation.labels)["nll"])


@pytest.mark.parametrize("budget", [{"steps": 120, "evaluate_every": 4}, {"epochs": 30}])
def test_early_stopping_restores_the_best_parameters(budget):
    """The reference trains once for every possible number of periods, and stops by hand."""
    x, y = blobs(3, 24)
    data = buffer(12)._replace(labels=jnp.asarray(np.roll(y, 1)).at[:6].set(jnp.asarray(y[:6])))  # half of them wrong
    validation = buffer(24)._replace(inputs=jnp.asarray(x), labels=jnp.asarray(y))
    rate, patience = optax.adam(0.3), 3
    stopped = point(Linear(), categorical(), Training(rate, minibatch_size=3, patience=patience, **budget))
    curve = []
    for periods in range(1, 31):
        # the shuffles are drawn for the whole budget: train the whole one, with its updates switched off at the end
        limit = 4 * periods
        frozen = optax.chain(
            rate, optax.scale_by_schedule(lambda count, limit=limit: jnp.where(count < limit, 1.0, 0.0))
        )
        longer = {"steps": 120} if "steps" in budget else {"epochs": 30}
        curve.append(
            evaluations(point(Linear(), categorical(), Training(frozen, minibatch_size=3, **longer)), data, validation)
        )
        best = int(np.argmin(curve))
        if len(curve) - 1 - best >= patience:
            break
    assert len(curve) < 30, "the example must overfit before its budget ends"
    state = stopped.init(KEY, data.inputs)
    fitted, info = stopped.fit(KEY, state, Data(data, validation))
    nll = categorical().metrics(stopped.predict(fitted, None, validation.inputs), validation.labels)["nll"]
    np.testing.assert_allclose(nll, min(curve), rtol=1e-5)
    assert info["steps"] == 4 * len(curve)


def test_early_stopping_stops_each_seed_on_its_own_under_vmap():
    x, y = blobs(3, 24)
    validation = buffer(24)._replace(inputs=jnp.asarray(x), labels=jnp.asarray(y))
    posterior = point(Linear(), categorical(), Training(optax.adam(0.3), minibatch_size=3, epochs=20, patience=2))
    keys = jax.random.split(KEY, 4)

    def fit(key):
        return posterior.fit(key, posterior.init(key, x), Data(buffer(9), validation))

    together, info = jax.vmap(fit)(keys)
    assert len(set(np.asarray(info["steps"]).tolist())) > 1
    for index, key in enumerate(keys):
        alone, alone_info = fit(key)
        assert alone_info["steps"] == info["steps"][index]
        chex.assert_trees_all_close(alone, jax.tree.map(lambda leaf, i=index: leaf[i], together), atol=1e-4)


def test_divergence_is_reported():
    posterior = point(Linear(), categorical(), Training(optax.sgd(1e38), minibatch_size=3, steps=20))
    data = buffer(9)
    assert not posterior.fit(KEY, posterior.init(KEY, data.inputs), Data(data))[1]["finite"]


def test_weight_decay_over_the_count_of_some_parameters():
    params = {
        "Dense_0": {"kernel": jnp.array([1.0, 2.0]), "bias": jnp.array([5.0])},
        "Dense_1": {"kernel": jnp.array([3.0])},
    }
    assert l2(0.5)(params, jnp.asarray(4)) == 0.5 * (1 + 4 + 25 + 9)
    assert l2(0.5, only="kernel")(params, jnp.asarray(4)) == 0.5 * (1 + 4 + 9)
    assert l2(0.5, only="Dense_1/kernel", over_count=True)(params, jnp.asarray(4)) == 0.5 * 9 / 4
    with pytest.raises(ValueError, match="only='convolution' matches no parameter"):
        l2(0.5, only="convolution")(params, jnp.asarray(4))


def test_a_penalty_pulls_the_parameters_to_zero():
    data = buffer(9)
    strong = point(Linear(), categorical(), Training(optax.sgd(0.05), minibatch_size=9, steps=200, penalty=l2(5.0)))
    fitted, _ = strong.fit(KEY, strong.init(KEY, data.inputs), Data(data))
    assert jnp.abs(fitted["Dense_0"]["kernel"]).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"steps": 5, "epochs": 5}, "exactly one"),
        ({"steps": 0}, "steps=0: expected at least 1"),
        ({"steps": 5, "minibatch_size": 0}, "minibatch_size=0"),
        ({"steps": 5, "evaluate_every": 2}, "evaluate_every=2: expected a divisor"),
        ({"epochs": 5, "evaluate_every": 2}, "evaluate_every=2"),
        ({"steps": 5, "patience": 2}, "needs evaluate_every"),
        ({"epochs": 5, "monitor": "loss"}, "monitor='loss'"),
    ],
)
def test_bad_budgets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Training(optax.adam(1e-3), **arguments)


def test_early_stopping_without_a_validation_set_is_refused():
    posterior = point(Linear(), categorical(), Training(optax.adam(1e-3), epochs=2, patience=1))
    data = buffer(9)
    with pytest.raises(ValueError, match="patience=1 needs a validation set"):
        posterior.fit(KEY, posterior.init(KEY, data.inputs), Data(data))


class Wide(nn.Module):
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, dtype=self.dtype)(x.reshape(len(x), -1))


def test_mixed_precision_computes_in_bfloat16_and_keeps_parameters_in_float32():
    states = {}
    for dtype in (None, jnp.bfloat16):
        training = Training(optax.adam(1e-2), minibatch_size=8, steps=30, dtype=dtype)
        posterior = point(Wide(), categorical(), training)
        state = posterior.init(KEY, buffer(24).inputs)
        states[dtype], info = jax.jit(posterior.fit)(KEY, state, Data(buffer(24)))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(states[dtype]))
        assert info["loss"].dtype == jnp.float32
        assert posterior.predict(states[dtype], None, buffer(24).inputs).log_probs.dtype == jnp.float32
    exact, rounded = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(s)]) for s in states.values())
    assert 1e-6 < np.abs(exact - rounded).max() < 0.05
    program = jax.jit(posterior.fit).lower(KEY, state, Data(buffer(24))).as_text()
    assert "bf16" in program


def test_mixed_precision_needs_a_network_that_has_a_dtype():
    with pytest.raises(ValueError, match="dtype=bfloat16: module=Linear has no attribute `dtype`"):
        point(Linear(), categorical(), Training(optax.adam(1e-2), steps=1, dtype=jnp.bfloat16))


def test_augmentation_changes_every_minibatch_anew_and_no_other_draw():
    seen = []

    def shifted(key, inputs):
        seen.append(inputs.shape)
        return inputs + jax.random.normal(key)

    def fitted(augment):
        training = Training(optax.sgd(0.1), minibatch_size=8, steps=3, augment=augment)
        posterior = point(Linear(), categorical(), training)
        return posterior.fit(KEY, posterior.init(KEY, buffer(24).inputs), Data(buffer(24)))[0]

    def difference(a, b):
        return max(np.abs(x - y).max() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))

    plain = fitted(None)
    assert difference(plain, fitted(lambda key, inputs: inputs)) == 0
    assert difference(plain, fitted(shifted)) > 1e-3
    assert set(seen) == {(8, 2)}, "whole minibatches"
