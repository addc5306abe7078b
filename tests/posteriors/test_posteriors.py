"""What is particular to each posterior; the laws that all obey are in test_testing.py."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TRAINING, blobs, tiny
from tables import POSTERIORS

from al_jax.likelihood import categorical
from al_jax.models import MLP, Gaussian, VariationalConv, VariationalDense
from al_jax.models.forward import completed
from al_jax.posteriors import (
    ensemble,
    evidential,
    laplace,
    mc_dropout,
    nuts_last_layer,
    point,
    shrink_and_perturb,
    sngp,
    svi,
    variational,
)
from al_jax.posteriors.variational import draw_weights, kl_divergence
from al_jax.training import Training
from al_jax.types import Data, Labelled, Likelihood, Predictions

KEY = jax.random.key(0)
X, Y = blobs(0, 16)


def test_point_has_one_sample_and_it_is_the_point():
    posterior = tiny("point")
    predictions = posterior.predict(posterior.init(KEY, X), None, X)
    assert predictions.log_probs.shape == (16, 1, 3)
    np.testing.assert_array_equal(predictions.log_probs[:, 0], predictions.point)


def test_mc_dropout_is_the_network_under_explicit_masks():
    """One mask a draw, inverted scaling: the samples take exactly the values that some mask gives."""

    class OneLayer(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(2, use_bias=False)(nn.Dropout(0.5, deterministic=not train)(x))

    posterior = mc_dropout(OneLayer(), categorical(), TRAINING)
    state = posterior.init(KEY, X)
    predictions = posterior.predict(state, posterior.sample(KEY, state, 200), X)
    weights = np.asarray(state["Dense_0"]["kernel"])
    masks = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])
    possible = np.asarray(jax.nn.log_softmax((X[:, None, :] * masks) @ weights))  # [n, 4, 2]
    distances = np.abs(np.asarray(predictions.log_probs)[:, :, None] - possible[:, None]).max(-1)  # [n, K, 4]
    which = distances.argmin(-1)
    assert distances.min(-1).max() < 1e-5
    assert (which == which[0]).all(), "every row saw the same mask in one draw"
    counts = np.bincount(which[0], minlength=4)
    assert np.abs(counts - 50).max() < 5 * np.sqrt(50 * 0.75)


def test_mc_dropout_refuses_a_network_without_dropout():
    with pytest.raises(ValueError, match="MLP has no dropout layer"):
        mc_dropout(MLP(3, (8,), 0.0), categorical(), TRAINING).init(KEY, X)


def test_a_network_with_batch_norm_is_refused():
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))

    with pytest.raises(ValueError, match="batch_stats"):
        point(Normalised(), categorical(), TRAINING).init(KEY, X)


class LateDropout(nn.Module):
    """Two wide layers, of which a posterior may make the last, narrow one random."""

    dropout: float = 0.0
    last: Any = nn.Dense

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Dense(512)(nn.relu(nn.Dense(512)(x))))
        return self.last(3)(nn.Dropout(self.dropout, deterministic=not train)(x))


class Named(nn.Module):
    """The wide layers, with named features."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(512)(nn.relu(nn.Dense(512)(x))))
        self.sow("intermediates", "features", x)
        return nn.Dense(3)(x)


LAST_IS_RANDOM = {
    "mc_dropout": mc_dropout(LateDropout(0.5), categorical(), TRAINING),
    "debal": ensemble(mc_dropout(LateDropout(0.5), categorical(), TRAINING), 2),
    "shrink_and_perturb": shrink_and_perturb(mc_dropout(LateDropout(0.5), categorical(), TRAINING)),
    "evidential": evidential(LateDropout(), categorical(), TRAINING),
    "sngp": sngp(Named(), categorical(), TRAINING, random_features=64),
    "variational": variational(LateDropout(last=VariationalDense), categorical(), TRAINING),
    "svi": svi(LateDropout(), categorical(), TRAINING, prior={"Dense_2/": 1.0}),
    "laplace": laplace(LateDropout(), categorical(), TRAINING),
    "nuts_last_layer": nuts_last_layer(LateDropout(), categorical(), TRAINING),
}
ALL_IS_RANDOM = {"point", "ensemble", "swag", "nuts", "sgld", "cyclical_sghmc", "snapshot_ensemble"}
ALL_IS_RANDOM |= {"dpe", "loss_prediction", "waal"}


def test_every_posterior_is_in_one_of_the_two_lists():
    assert set(POSTERIORS) == set(LAST_IS_RANDOM) | ALL_IS_RANDOM


@pytest.mark.parametrize("name", LAST_IS_RANDOM)
def test_what_all_draws_share_is_computed_once_not_once_a_draw(name):
    """Counted by XLA for a TPU, where a product is one operation."""
    posterior, members = LAST_IS_RANDOM[name], 2 if name == "debal" else 1
    x = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    state = jax.eval_shape(posterior.init, KEY, x)

    def flops(num_samples):
        draws = jax.eval_shape(lambda k, s: posterior.sample(k, s, num_samples), KEY, state)
        traced = jax.jit(lambda s, d, x: posterior.predict(s, d, x).log_probs).trace(state, draws, x)
        return traced.lower(lowering_platforms=("tpu",)).cost_analysis()["flops"]

    trunk, head = 2 * 64 * (32 * 512 + 512 * 512), 2 * 64 * 512 * 3
    assert flops(100) - flops(2) < 98 * 4 * head, "a hundred heads"
    assert flops(100) < members * 3 * trunk + 100 * 4 * head, "and one trunk"


def test_ensemble_of_points_is_its_members():
    posterior, member = tiny("ensemble"), tiny("point")
    state = posterior.init(KEY, X)
    predictions = posterior.predict(state, posterior.sample(KEY, state, 50), X)
    assert predictions.log_probs.shape == (16, 3, 3), "all the members there are, not 50"
    for index in range(3):
        single = member.predict(jax.tree.map(lambda leaf, i=index: leaf[i], state), None, X)
        np.testing.assert_allclose(predictions.log_probs[:, index], single.point, atol=1e-5)
        if index == 0:
            np.testing.assert_allclose(predictions.point, single.point, atol=1e-5)
            np.testing.assert_allclose(predictions.features, single.features, atol=1e-5)


def test_every_member_of_debal_gives_its_share_of_the_samples():
    posterior = tiny("debal")
    state = posterior.init(KEY, X)
    log_probs = posterior.predict(state, posterior.sample(KEY, state, 10), X).log_probs
    assert log_probs.shape == (16, 12, 3), "3 members, 4 draws each: at least the 10 asked for"
    assert len(np.unique(np.moveaxis(log_probs, 1, 0).reshape(12, -1), axis=0)) == 12, "all of them different functions"


def test_ensemble_refuses_to_be_empty():
    with pytest.raises(ValueError, match="members=0"):
        ensemble(tiny("point"), 0)


def test_closed_form_kl_is_the_monte_carlo_kl():
    params = {"kernel": Gaussian(jnp.array([0.3, -1.0]), jnp.array([0.1, -2.0])), "offset": jnp.array([7.0])}
    q = params["kernel"]
    samples = q.mean + q.std * jax.random.normal(KEY, (200_000, 2))
    log_q = jax.scipy.stats.norm.logpdf(samples, q.mean, q.std).sum(1)
    log_p = jax.scipy.stats.norm.logpdf(samples, 0.0, 0.7).sum(1)
    difference = np.asarray(log_q - log_p)
    error = difference.std() / np.sqrt(len(difference))
    assert abs(float(kl_divergence(params, 0.7)) - difference.mean()) < 5 * error
    np.testing.assert_allclose(
        kl_divergence({"k": Gaussian(jnp.zeros(3), jnp.full(3, jnp.log(jnp.expm1(0.7))))}, 0.7), 0, atol=1e-6
    )


def test_drawn_weights_have_the_posterior_mean_and_deviation_and_other_parameters_stay():
    params = {"kernel": Gaussian(jnp.array([0.3, -1.0]), jnp.array([0.1, -2.0])), "offset": jnp.array([7.0])}
    draws = jax.vmap(draw_weights, in_axes=(0, None))(jax.random.split(KEY, 20_000), params)
    np.testing.assert_allclose(draws["kernel"].mean.mean(0), params["kernel"].mean, atol=0.03)
    np.testing.assert_allclose(draws["kernel"].mean.std(0), params["kernel"].std, rtol=0.03)
    assert draws["offset"] is None
    assert completed(draws, params)["offset"] is params["offset"]


def gaussian_likelihood(noise: float) -> Likelihood:
    """Regression with known noise: loss in nats up to a constant."""

    def loss(outputs, labels):
        return 0.5 * jnp.square((outputs[:, 0] - labels) / noise)

    def predictions(outputs, point, features=None, extras=None):
        return Predictions(outputs, point, features, extras or {})

    return Likelihood(loss, predictions, lambda p, y: {"nll": jnp.zeros(())}, lambda p: p)


def test_variational_inference_finds_the_closed_form_of_bayesian_linear_regression():
    """With orthogonal inputs the exact posterior factorises, so that the mean-field optimum IS the posterior."""
    noise, prior = 0.5, 1.5
    x = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 2)))[0] * np.array([3.0, 1.0])
    y = x @ np.array([0.8, -1.2]) + noise * np.random.default_rng(1).normal(size=32)

    class Line(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return VariationalDense(1)(x)

    rate = optax.cosine_decay_schedule(0.02, 6000)
    training = Training(optax.adam(rate), minibatch_size=32, steps=6000)
    posterior = variational(Line(), gaussian_likelihood(noise), training, prior_std=prior)
    x1, y1 = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    data = Labelled(x1, y1, jnp.ones(32), jnp.arange(32), jnp.asarray(32))
    state, _ = jax.jit(posterior.fit)(KEY, posterior.init(KEY, x1), Data(data))
    q = state["VariationalDense_0"]["kernel"]
    # the posterior over (w, b) has precision X'X / noise^2 + 1 / prior^2; the bias is not orthogonal to x: solve fully
    design = np.concatenate([x, np.ones((32, 1))], 1)
    precision = design.T @ design / noise**2 + np.eye(3) / prior**2
    mean = np.linalg.solve(precision, design.T @ y / noise**2)
    mean_field_std = 1 / np.sqrt(np.diag(precision))  # the optimum of the reverse KL (Bishop 2006, eq. 10.13)
    bias = state["VariationalDense_0"]["bias"]
    np.testing.assert_allclose([*q.mean[:, 0], *bias.mean], mean, atol=0.02)
    np.testing.assert_allclose([*q.std[:, 0], *bias.std], mean_field_std, rtol=0.1)


def test_a_cold_posterior_is_narrower():
    x, y = blobs(0, 24)
    data = Labelled(jnp.asarray(x), jnp.asarray(y), jnp.ones(24), jnp.arange(24), jnp.asarray(24))
    training = Training(optax.adam(0.02), minibatch_size=24, steps=500)

    def width(temperature):
        network = MLP(3, (), 0.0, dense=VariationalDense)
        posterior = variational(network, categorical(), training, temperature=temperature)
        state, _ = jax.jit(posterior.fit)(KEY, posterior.init(KEY, x), Data(data))
        return float(state["VariationalDense_0"]["kernel"].std.mean())

    assert width(0.01) < 0.5 * width(1.0)


def test_variational_refuses_a_network_without_variational_layers():
    with pytest.raises(ValueError, match="MLP has no variational layer"):
        variational(MLP(3, (8,), 0.0), categorical(), TRAINING).init(KEY, X)
    with pytest.raises(ValueError, match="prior_std=0"):
        variational(MLP(3, (8,)), categorical(), TRAINING, prior_std=0)


def test_a_few_variational_layers_near_the_output_are_enough():
    class Hybrid(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.relu(nn.Conv(4, (3, 3))(x[..., None]))
            x = nn.relu(VariationalConv(2, (3, 3))(x))
            return VariationalDense(3)(x.reshape(len(x), -1))

    posterior = variational(Hybrid(), categorical(), Training(optax.adam(1e-2), minibatch_size=4, steps=5))
    images = np.random.default_rng(0).normal(size=(8, 5, 5)).astype(np.float32)
    data = Labelled(images, jnp.arange(8) % 3, jnp.ones(8), jnp.arange(8), jnp.asarray(8))
    state, info = posterior.fit(KEY, posterior.init(KEY, images), Data(data))
    predictions = posterior.predict(state, posterior.sample(KEY, state, 6), images)
    assert info["finite"]
    assert predictions.log_probs.shape == (8, 6, 3)
    assert np.std(predictions.log_probs, axis=1).min() > 0
