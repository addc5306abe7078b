"""svi, swag, laplace and nuts against closed forms, brute force and each other."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from conftest import TRAINING, blobs, tiny
from numpyro.diagnostics import split_gelman_rubin
from numpyro.infer import autoguide
from scipy import stats

from al_jax import acquisitions as aq
from al_jax import campaign, posteriors
from al_jax.engine.compiled import full_buffer
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP, VariationalDense
from al_jax.models.last_layer import forward_split, last_layer, stacked
from al_jax.posteriors.curvature import (
    Rows,
    diagonalised,
    find_mode,
    fit_gaussian,
    gauss_newton,
    negative_log_likelihood,
    whitened,
)
from al_jax.posteriors.nuts import Chains, keep, run_chains, split_r_hat
from al_jax.posteriors.nuts import State as NutsState
from al_jax.testing import lowered
from al_jax.training import Training, l2
from al_jax.types import Data, Labelled

KEY = jax.random.key(0)
X, Y = blobs(0, 16)
NOISE = 0.5


class Line(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1)(x)


def regression(size: int = 32):
    """Inputs, labels, the buffer (with room for 3 more rows), and the design matrix with its column of ones."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(size, 2)) * np.array([1.5, 0.5])
    y = x @ np.array([0.8, -1.2]) + 0.3 + NOISE * generator.normal(size=size)
    padded = np.concatenate([x, np.full((3, 2), np.nan)]).astype(np.float32)
    labels = np.concatenate([y, np.zeros(3)]).astype(np.float32)
    data = Data(Labelled(jnp.asarray(padded), jnp.asarray(labels), jnp.ones(size + 3), jnp.arange(size + 3), size))
    data = data._replace(labelled=data.labelled._replace(count=jnp.asarray(size)))
    return x, y, data, np.concatenate([x, np.ones((size, 1))], 1)


def fit_twice(posterior, data):
    """The fit on all rows, with the program that has just fitted fewer: one compilation as labels grow."""
    fit = jax.jit(posterior.fit)
    start = jax.jit(posterior.init)(KEY, data.labelled.inputs)
    fit(KEY, start, data._replace(labelled=data.labelled._replace(count=data.labelled.count // 2)))
    fitted = fit(KEY, start, data)
    assert fit._cache_size() == 1
    return fitted


def exact(design: np.ndarray, y: np.ndarray, precision: float):
    """Mean, covariance and log evidence of Bayesian linear regression, in float64."""
    inverse = design.T @ design / NOISE**2 + precision * np.eye(design.shape[1])
    mean = np.linalg.solve(inverse, design.T @ y / NOISE**2)
    marginal = NOISE**2 * np.eye(len(y)) + design @ design.T / precision
    return mean, np.linalg.inv(inverse), stats.multivariate_normal(np.zeros(len(y)), marginal).logpdf(y)


@pytest.fixture(scope="module")
def classified():
    """Rows of three classes with three features and a bias, one of them padding and one of weight 2."""
    x, y = blobs(1, 14)
    features = np.concatenate([x, x[:, :1] ** 2, np.ones((14, 1))], 1).astype(np.float32)
    weights = np.ones(14, np.float32)
    weights[3], weights[-1] = 2.0, 0.0
    return Rows(jnp.asarray(features), jnp.asarray(y), jnp.asarray(weights))


# Laplace


@pytest.mark.parametrize("structure", ["full", "kron"])
@pytest.mark.parametrize("precision", [2.0, None])
def test_laplace_is_the_exact_posterior_for_a_gaussian_likelihood(structure, precision):
    _, y, data, design = regression()
    training = Training(optax.adam(1e-2), steps=2)
    posterior = posteriors.laplace(Line(), gaussian(NOISE), training, structure=structure, prior_precision=precision)
    state, info = fit_twice(posterior, data)
    if precision is None:
        grid = np.logspace(-3, 3, 2001)
        best = grid[np.argmax([exact(design, y, p)[2] for p in grid])]
        np.testing.assert_allclose(info["prior_precision"], best, rtol=0.02)
    mean, covariance, evidence = exact(design, y, float(info["prior_precision"]))
    np.testing.assert_allclose(info["log_evidence"], evidence, rtol=1e-4)
    np.testing.assert_allclose(state.gaussian.mode[:, 0], mean, atol=1e-4)
    unit = jax.vmap(lambda e: whitened(state.gaussian, e) - state.gaussian.mode)(jnp.eye(3)[:, :, None])[..., 0]
    np.testing.assert_allclose(unit.T @ unit, covariance, atol=1e-5)
    draws = np.asarray(posterior.sample(KEY, state, 4000))[..., 0]
    error = np.sqrt(np.diag(covariance) / 4000)
    assert (np.abs(draws.mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1 * covariance.max())


def test_gauss_newton_is_the_hessian_and_its_approximations_are_what_they_are_called(classified):
    weights = jax.random.normal(KEY, (4, 3))
    matrix = jax.jit(functools.partial(gauss_newton, categorical()), static_argnums=2)
    full = np.asarray(matrix(classified, weights, "full"), np.float64)
    flat = jax.jit(jax.hessian(lambda w: negative_log_likelihood(categorical(), classified, w.reshape(4, 3))))
    np.testing.assert_allclose(full, flat(weights.reshape(-1)), rtol=1e-4, atol=1e-4)
    diagonal = matrix(classified, weights, "diag")
    np.testing.assert_allclose(np.asarray(diagonal).reshape(-1), np.diag(full), rtol=1e-4)
    left, right = matrix(classified, weights, "kron")
    f, w = (np.asarray(part, np.float64) for part in (classified.features, classified.weights))
    p = np.asarray(jax.nn.softmax(f @ weights), np.float64)
    hessians = np.einsum("na,ab->nab", p, np.eye(3)) - np.einsum("na,nb->nab", p, p)
    np.testing.assert_allclose(left, sum(w[n] * np.outer(f[n], f[n]) for n in range(14)), rtol=1e-4)
    np.testing.assert_allclose(right, np.tensordot(w, hessians, 1) / w.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
def test_draws_have_the_covariance_that_the_matrix_stands_for(classified, structure):
    fit = jax.jit(lambda rows: fit_gaussian(categorical(), rows, jnp.zeros((4, 3)), structure, 0.7))
    found, evidence = fit(classified)
    matrix = gauss_newton(categorical(), classified, found.mode, structure)
    dense = {
        "full": lambda: matrix,
        "kron": lambda: np.kron(*matrix),
        "diag": lambda: np.diag(np.asarray(matrix).reshape(-1)),
    }[structure]()
    precision = np.asarray(dense, np.float64) + 0.7 * np.eye(12)
    unit = jax.vmap(lambda e: whitened(found, e) - found.mode)(jnp.eye(12).reshape(12, 4, 3)).reshape(12, 12)
    np.testing.assert_allclose(unit.T @ unit, np.linalg.inv(precision), atol=2e-4)
    loss = float(negative_log_likelihood(categorical(), classified, found.mode)) + 0.35 * float((found.mode**2).sum())
    expected = -loss - 0.5 * np.linalg.slogdet(precision / 0.7)[1]
    np.testing.assert_allclose(evidence, expected, rtol=1e-4)


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_a_rounding_error_of_the_matrix_does_not_change_a_draw(structure):
    """With fewer rows than features eigenvalues repeat, and their eigenvectors are arbitrary."""
    features = jax.random.normal(KEY, (3, 6))
    noise = jax.random.normal(KEY, (6, 2))

    def draw(scale):
        rows = Rows(features * scale, jnp.arange(3) % 2, jnp.ones(3))
        return whitened(fit_gaussian(categorical(), rows, jnp.zeros((6, 2)), structure, 0.5)[0], noise)

    one, other = jax.jit(jax.vmap(draw))(jnp.asarray([1.0, 1.0 + 1e-6]))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_mode_is_where_the_gradient_of_the_posterior_vanishes(classified):
    def objective(weights):
        return negative_log_likelihood(categorical(), classified, weights) + 0.05 * jnp.sum(weights**2)

    start = 5 * jax.random.normal(KEY, (4, 3))
    mode = jax.jit(lambda start: find_mode(categorical(), classified, jnp.asarray(0.1), start))(start)
    slope = jax.jit(lambda weights: jnp.abs(jax.grad(objective)(weights)).max())
    assert slope(mode) < 2e-3 * slope(start)


def test_a_hessian_that_is_not_positive_definite_stops_the_fit():
    concave = gaussian(NOISE)._replace(loss=lambda outputs, labels: -jnp.square(outputs).sum(-1))
    _, _, data, _ = regression(8)
    posterior = posteriors.laplace(Line(), concave, TRAINING, prior_precision=1e-3)
    _, info = jax.jit(posterior.fit)(KEY, jax.jit(posterior.init)(KEY, data.labelled.inputs), data)
    assert not info["finite"]
    for matrix in (-jnp.eye(4), (jnp.eye(2), -jnp.eye(2)), -jnp.ones((2, 2))):
        assert np.isnan(diagonalised(matrix, (2, 2)).eigenvalues).all()


# svi


def test_numpyro_s_guide_our_layer_and_the_closed_form_agree():
    """The optimum of mean field is known: the exact mean, and 1 / the diagonal of the precision (Bishop 2006, 10.13).

    Stated error: Adam's steps are noisy; over seeds both estimates of a mean lie within 0.03 and of a deviation within
    12 % of it.
    """
    _, y, data, design = regression()
    training = Training(optax.adam(optax.cosine_decay_schedule(0.03, 3000)), minibatch_size=32, steps=3000)
    mean, covariance, _ = exact(design, y, 1 / 1.5**2)
    deviation = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    guided = posteriors.svi(Line(), gaussian(NOISE), training, prior=dist.Normal(0, 1.5))
    state, info = fit_twice(guided, data)
    assert info["finite"]
    draws = guided.sample(KEY, state, 4000)["Dense_0"]
    values = np.concatenate([draws["kernel"][..., 0], draws["bias"]], 1)
    layered = posteriors.variational(LineOfOurs(), gaussian(NOISE), training, prior_std=1.5)
    ours, _ = jax.jit(layered.fit)(KEY, layered.init(KEY, data.labelled.inputs), data)
    q = ours["VariationalDense_0"]
    for found in (values.mean(0), np.concatenate([q["kernel"].mean[:, 0], q["bias"].mean])):
        np.testing.assert_allclose(found, mean, atol=0.03)
    for found in (values.std(0), np.concatenate([q["kernel"].std[:, 0], q["bias"].std])):
        np.testing.assert_allclose(found, deviation, rtol=0.12)


class LineOfOurs(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return VariationalDense(1)(x)


def fitted(posterior):
    data = Data(Labelled(jnp.asarray(X), jnp.asarray(Y), jnp.ones(16), jnp.arange(16), jnp.asarray(16)))
    state, info = jax.jit(posterior.fit)(KEY, jax.jit(posterior.init)(KEY, X), data)
    assert info["finite"]
    return state


def test_priors_by_name_make_some_layers_bayesian_and_the_guide_of_the_user_is_used():
    guide = functools.partial(autoguide.AutoLowRankMultivariateNormal, rank=2, init_scale=0.1)
    prior = {"Dense_1/kernel": dist.Normal(0, 1), "Dense_1/": dist.Laplace(0, 2)}
    posterior = posteriors.svi(MLP(3, (8,), 0.0), categorical(), TRAINING, prior=prior, guide=guide)
    state = fitted(posterior)
    draws = jax.jit(posterior.sample, static_argnums=2)(KEY, state, 5)
    assert draws["Dense_0"]["kernel"] is None, "no prior: a point estimate, which all draws share"
    assert draws["Dense_1"]["kernel"].std(0).min() > 0
    assert draws["Dense_1"]["bias"].std(0).min() > 0
    assert state.guide["auto_cov_factor"].shape == (27, 2)
    start = jax.jit(posterior.init)(KEY, X).guide["Dense_0/kernel"]
    assert not np.array_equal(state.guide["Dense_0/kernel"], start), "which is trained"


def test_auto_delta_is_the_maximum_a_posteriori_estimate():
    _, y, data, design = regression()
    training = Training(optax.adam(optax.cosine_decay_schedule(0.05, 1000)), minibatch_size=32, steps=1000)
    posterior = posteriors.svi(Line(), gaussian(NOISE), training, prior=dist.Normal(0, 0.5), guide=autoguide.AutoDelta)
    state, _ = jax.jit(posterior.fit)(KEY, jax.jit(posterior.init)(KEY, data.labelled.inputs), data)
    draws = posterior.sample(KEY, state, 2)["Dense_0"]
    found = np.concatenate([draws["kernel"][1, :, 0], draws["bias"][1]])
    np.testing.assert_allclose(found, exact(design, y, 4.0)[0], atol=1e-3)


def test_a_prior_with_a_bounded_support_is_kept_within_it():
    prior = {"kernel": dist.HalfNormal(1.0), "bias": dist.Normal(0, 1)}
    posterior = posteriors.svi(MLP(3, (), 0.0), categorical(), TRAINING, prior=prior)
    draws = jax.jit(lambda key: posterior.sample(key, posterior.init(key, X), 9))(KEY)
    assert draws["Dense_0"]["kernel"].min() > 0


# SWAG


def test_swag_s_draws_have_the_moments_of_the_walk():
    """Stated error: the mean lies within 0.05 of the mode, the draws' covariance within 10 % of what the state says."""
    _, y, data, design = regression()
    training = Training(optax.adam(0.05), minibatch_size=8, steps=400, penalty=l2(NOISE**2))
    posterior = posteriors.swag(Line(), gaussian(1.0), training, rank=6, steps=5)
    state, info = fit_twice(posterior, data)
    assert info["finite"]
    mode = np.linalg.solve(design.T @ design / len(y) + 2 * NOISE**2 * np.eye(3), design.T @ y / len(y))
    mean, variance, deviations = (flat(tree) for tree in state)
    np.testing.assert_allclose(mean, mode, atol=0.05)
    assert variance.min() > 0
    draws = flat(jax.jit(posterior.sample, static_argnums=2)(KEY, state, 20_000))
    expected = 0.5 * np.diag(variance) + deviations.T @ deviations / (2 * (6 - 1))
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * np.sqrt(expected.max() / 20_000))
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.1 * expected.max())


def flat(tree):
    layer = tree["Dense_0"]
    return np.concatenate([np.asarray(layer["kernel"])[..., 0], np.asarray(layer["bias"])], -1)


# NUTS


def test_nuts_is_calibrated_on_a_conjugate_model():
    """Simulation-based calibration (Talts et al. 2018): the ranks of the truth among thinned draws are uniform."""
    replications, kept, thinning, bins = 100, 19, 3, 5

    def replication(key):
        truth_key, x_key, y_key, start_key, run_key = jax.random.split(key, 5)
        truth = jax.random.normal(truth_key, (2,))
        x = jax.random.normal(x_key, (6, 2))
        y = x @ truth + NOISE * jax.random.normal(y_key, (6,))

        def potential(w):
            return 0.5 * jnp.sum(w**2) + 0.5 * jnp.sum((y - x @ w) ** 2) / NOISE**2

        start = jax.random.normal(start_key, (1, 2))
        run = run_chains(run_key, potential, start, 60, thinning * kept, max_tree_depth=5)
        return (run.positions[0, ::thinning] < truth).sum(0), run.divergences.sum()

    ranks, divergences = jax.jit(jax.vmap(replication))(jax.random.split(jax.random.key(7), replications))
    assert divergences.sum() < 0.01 * replications * thinning * kept
    for of_weight in np.asarray(ranks).T:
        counts = np.histogram(of_weight, bins, (0, kept + 1))[0]
        assert stats.chisquare(counts).pvalue > 0.005, counts


def test_nuts_of_the_last_layer_and_of_the_whole_network_are_the_exact_posterior():
    """A network of one layer is its last layer: both sample the same closed form. Stated error: 5 standard errors, with
    at least a quarter of the draws independent.
    """
    _, y, data, design = regression()
    mean, covariance, _ = exact(design, y, 1.0)
    training = Training(optax.adam(1e-2), steps=2)
    lengths = {"chains": 4, "warmup": 150, "draws": 250}
    last = posteriors.nuts_last_layer(Line(), gaussian(NOISE), training, **lengths)
    whole = posteriors.nuts(Line(), gaussian(NOISE), **lengths)
    for posterior in (last, whole):
        state, info = fit_twice(posterior, data)
        draws = state.draws
        if isinstance(draws, dict):
            layer = draws["Dense_0"]
            draws = jnp.concatenate([layer["kernel"], layer["bias"][:, None]], 1)
        draws = np.asarray(draws)[..., 0]
        assert draws.shape == (1000, 3)
        assert info["divergences"] == 0
        assert info["r_hat"] < 1.05
        assert (np.abs(draws.mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / 250)).all()
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.3 * covariance.max())


def test_split_r_hat_is_numpyro_s():
    values = np.random.default_rng(0).normal(size=(3, 11, 4)) + np.arange(3)[:, None, None]
    np.testing.assert_allclose(split_r_hat(jnp.asarray(values)), split_gelman_rubin(values), rtol=1e-5)
    stuck = np.ones((2, 8))
    assert np.isnan(split_r_hat(jnp.asarray(stuck)))
    assert np.isnan(split_gelman_rubin(stuck))


def test_chains_that_never_move_are_not_called_converged():
    """A potential that is finite at the start alone: every proposal is refused."""

    def wall(position):
        return jnp.where(jnp.abs(position).sum() == 0, 0.0, jnp.inf)

    run = run_chains(KEY, wall, jnp.zeros((2, 3)), 5, 8)
    state = NutsState(None, jnp.zeros(3))
    _, report = keep(state, state, run, run.positions, jnp.asarray(4))
    assert np.isnan(report["r_hat"])
    assert np.isnan(report["r_hat_energy"])
    assert report["distinct"] == 2, "one of each chain"
    assert report["repeated"] == 1
    assert report["acceptance"] == 0


def test_a_value_that_no_weight_reaches_does_not_hide_r_hat():
    moving = jax.random.normal(KEY, (2, 40, 3))
    run = Chains(moving, moving[..., 0], *jnp.zeros((3, 2, 40)))
    values = moving.at[..., 1].set(0.5)
    _, report = keep(NutsState(None, moving), NutsState(None, moving), run, values, jnp.asarray(4))
    assert report["r_hat"] == split_r_hat(moving)[jnp.array([0, 2])].max()
    assert report["repeated"] == 0
    assert report["distinct"] == 80
    _, nothing = keep(NutsState(None, moving), NutsState(None, moving), run, values, jnp.asarray(0))
    assert np.isnan(nothing["r_hat"]), "no chain ran"


def test_an_ensemble_reports_its_worst_member():
    base = tiny("point")

    def fit(key, state, data):
        fitted, info = base.fit(key, state, data)
        which = jax.random.uniform(key)
        edge = {"r_hat": which, "repeated": which, "prior_at_edge": which > 0.5, "divergences": 1, "other": which}
        return fitted, info | jax.tree.map(jnp.asarray, edge)

    posterior = posteriors.ensemble(base._replace(fit=fit), 4)
    labelled = full_buffer(X, np.zeros(len(X), np.int32))
    _, info = jax.jit(posterior.fit)(KEY, posterior.init(KEY, X), Data(labelled))
    which = jax.vmap(jax.random.uniform)(jax.random.split(KEY, 4))
    assert info["r_hat"] == info["repeated"] == which.max()
    assert info["divergences"] == 4
    assert info["prior_at_edge"] == (which > 0.5).any()
    assert info["other"] == pytest.approx(float(which.mean()))


def test_a_prior_at_the_edge_of_its_range_is_reported_and_said_once(dataset):
    """Features that are as good as 0 and balanced labels: weights of 0 are best, and so is the narrowest prior."""
    small = dataset._replace(inputs=dataset.inputs * 1e-7, test_inputs=dataset.test_inputs * 1e-7)
    settings = campaign.Settings(seeds=1, initial_labels=6, max_labels=14, batch_size=4, num_samples=4)
    training = Training(optax.sgd(1e-6), steps=1)
    posterior = posteriors.laplace(MLP(3, (4,), 0.0), categorical(), training)
    with pytest.warns(RuntimeWarning, match="lies at the edge of the precisions") as told:
        done = campaign.run(posterior, aq.top_k(aq.bald), small, settings)
    assert done.rounds.fit_prior_at_edge.sum() > 1
    assert sum("at the edge" in str(warning.message) for warning in told) == 1


def test_there_are_no_more_samples_than_draws_and_no_draw_twice():
    posterior = tiny("nuts_last_layer")
    state = posterior.init(KEY, X)
    assert len(posterior.sample(KEY, state, 100)) == 8
    chosen = np.asarray(posterior.sample(KEY, state, 5))
    assert len(np.unique(chosen.reshape(5, -1), axis=0)) == 5


# networks


def test_the_last_layer_is_found_and_split_off():
    module = MLP(3, (8,), 0.5)
    params = posteriors.point(module, categorical(), TRAINING).init(KEY, X)
    assert last_layer(module, params, X) == ("Dense_1",)
    outputs, inputs = forward_split(module, params, X)
    assert inputs.shape == (16, 9)
    np.testing.assert_allclose(inputs @ stacked(params, ("Dense_1",)), outputs.logits, atol=1e-5)
    np.testing.assert_array_equal(inputs[:, :8], outputs.features)


def test_a_bayesian_last_layer_stands_on_any_trunk_of_ours():
    posterior = posteriors.variational(MLP(3, (8,), 0.0, last=VariationalDense), categorical(), TRAINING)
    assert sorted(posterior.init(KEY, X)) == ["Dense_0", "VariationalDense_0"]


class Softmax(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.log_softmax(nn.Dense(3)(x))


class NoDense(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.LayerNorm()(x)


class Skip(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        nn.Dense(3)(x)
        return self.param("free", nn.initializers.ones, (3,)) + jnp.zeros((len(x), 3))


class Pixels(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x[:, :, None])


last_only = (posteriors.laplace, posteriors.nuts_last_layer)


@pytest.mark.parametrize("kind", last_only)
@pytest.mark.parametrize("module", [Softmax(), NoDense(), Skip(), Pixels()], ids=lambda m: type(m).__name__)
def test_a_network_that_does_not_end_in_a_dense_layer_is_refused(kind, module):
    with pytest.raises(ValueError, match=r"(?s)dense|Dense.*let it end in flax.linen.Dense"):
        kind(module, categorical(), TRAINING).init(KEY, X)


NET = MLP(3, (4,), 0.0)
BATCHED = autoguide.AutoBatchedMultivariateNormal


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: posteriors.svi(NET, categorical(), TRAINING, prior={"Dense_7": dist.Normal()}), r"'Dense_7'.*no such"),
        (lambda: posteriors.svi(NET, categorical(), TRAINING, prior=dist.Bernoulli(0.5)), "discrete"),
        (
            lambda: posteriors.svi(NET, categorical(), TRAINING, guide=autoguide.AutoBatchedMultivariateNormal),
            "Batched",
        ),
        (lambda: posteriors.svi(NET, categorical(), TRAINING, guide=autoguide.AutoLaplaceApproximation), "`laplace`"),
        (lambda: posteriors.svi(NET, categorical(), TRAINING, guide=autoguide.AutoDAIS), "labelled rows"),
        (lambda: posteriors.svi(NET, categorical(), TRAINING, temperature=-1.0), "temperature=-1.0"),
        (
            lambda: posteriors.svi(MLP(3, (4,), 0.0, dense=VariationalDense), categorical(), TRAINING),
            "variational layers",
        ),
        (lambda: posteriors.nuts(NET, categorical(), prior={"Dense_0": dist.Normal()}), "no prior for Dense_1/bias"),
        (lambda: posteriors.nuts(NET, categorical(), draws=3), "draws=3"),
        (lambda: posteriors.nuts_last_layer(NET, categorical(), TRAINING, chains=0), "chains=0"),
        (lambda: posteriors.nuts_last_layer(NET, categorical(), TRAINING, prior_std=0.0), "prior_std=0.0"),
        (lambda: posteriors.swag(NET, categorical(), TRAINING, rank=50), "rank=50: expected 2 to snapshots=40"),
        (lambda: posteriors.swag(NET, categorical(), TRAINING, learning_rate=0.0), "learning_rate=0.0"),
        (lambda: posteriors.laplace(NET, categorical(), TRAINING, structure="ful"), "structure='ful'"),
        (lambda: posteriors.laplace(NET, categorical(), TRAINING, prior_precision=-1.0), "prior_precision=-1.0"),
    ],
)
def test_what_cannot_work_is_a_named_error(make, message):
    with pytest.raises(ValueError, match=message):
        make().init(KEY, X)


# campaigns


def test_divergences_and_r_hat_are_in_the_rounds_of_a_campaign(dataset):
    settings = campaign.Settings(seeds=2, initial_labels=3, max_labels=11, batch_size=4, num_samples=5)
    done = campaign.run(tiny("nuts_last_layer"), aq.top_k(aq.bald), dataset, settings)
    assert done.stopped == {}
    assert done.rounds.num_labelled.tolist() == 2 * [3, 7, 11]
    assert (done.rounds.fit_r_hat >= 0.8).all()
    assert (done.rounds.fit_divergences >= 0).all()


@pytest.mark.parametrize("kind", last_only)
def test_a_buffer_of_numpy_arrays_may_be_closed_over(kind):
    posterior = kind(Line(), gaussian(NOISE), Training(optax.adam(1e-2), steps=2))
    known = jax.tree.map(np.asarray, regression(8)[2])
    _, info = jax.eval_shape(lambda key: posterior.fit(key, posterior.init(key, known.labelled.inputs), known), KEY)
    assert "finite" in info


@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
def test_hessians_and_draws_multiply_in_full_precision_on_a_tpu(classified, structure):
    def draw(rows, noise):
        return whitened(fit_gaussian(categorical(), rows, noise, structure, None)[0], noise)

    text = lowered(draw, classified, jnp.zeros((4, 3)))
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert [line for line in products if "HIGHEST" not in line] == []
