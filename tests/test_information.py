import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import information

RNG = np.random.default_rng(0)
mutual_information = jax.jit(information.mutual_information)
entropy = jax.jit(information.entropy)
log_marginal = jax.jit(information.log_marginal)
log_mean_exp = jax.jit(information.log_mean_exp, static_argnums=1)


def log(p):
    with np.errstate(divide="ignore"):
        return np.log(p).astype(np.float32)


def dirichlet(*shape, num_classes=4, zeros=0.3):
    p = RNG.dirichlet(np.full(num_classes, 0.5), shape)
    p = np.where(RNG.random(p.shape) < zeros, 0.0, p)
    p[..., 0] += p.sum(-1) == 0
    return p / p.sum(-1, keepdims=True)


def plogp(p):
    return p * math.log(p) if p > 0 else 0.0


def loops_entropy(p):
    total = 0.0
    for q in p:
        total -= plogp(q)
    return total


def loops_marginal(p):
    return [sum(p[k][c] for k in range(len(p))) / len(p) for c in range(len(p[0]))]


def loops_mutual_information(p):
    return loops_entropy(loops_marginal(p)) - sum(loops_entropy(row) for row in p) / len(p)


# log_mean_exp and the marginal


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_log_mean_exp_is_the_log_of_the_mean_over_one_axis(axis):
    p = RNG.random((3, 4, 5))
    np.testing.assert_allclose(log_mean_exp(log(p), axis), np.log(p.mean(axis)), rtol=1e-5, atol=1e-6)


def test_log_mean_exp_of_probabilities_that_float32_cannot_hold_does_not_underflow():
    assert log_mean_exp(jnp.array([-1e4, -1e4]), 0) == -1e4
    np.testing.assert_allclose(log_mean_exp(jnp.array([-1e4, -jnp.inf]), 0), -1e4 - math.log(2), rtol=1e-6)


def test_the_mean_of_zeros_is_zero_in_log_space_and_not_nan():
    assert log_mean_exp(jnp.full(3, -jnp.inf), 0) == -jnp.inf


def test_the_marginal_averages_the_samples_of_every_row():
    p = dirichlet(6, 3)
    expected = np.array([loops_marginal(row) for row in p])
    np.testing.assert_allclose(jnp.exp(log_marginal(log(p))), expected, atol=1e-6)


def test_the_marginal_of_one_sample_is_that_sample():
    log_p = log(dirichlet(5, 1))
    np.testing.assert_array_equal(log_marginal(log_p), log_p[:, 0])


# entropy


def test_entropy_is_minus_the_sum_of_p_log_p_whatever_the_leading_axes():
    p = dirichlet(2, 3, 4)
    expected = [[[loops_entropy(q) for q in row] for row in block] for block in p]
    np.testing.assert_allclose(entropy(log(p)), expected, atol=1e-6)


@pytest.mark.parametrize("num_classes", [1, 2, 10, 1000])
def test_entropy_lies_between_that_of_a_certain_and_that_of_a_uniform_prediction(num_classes):
    uniform = jnp.full(num_classes, -jnp.log(num_classes))
    certain = jnp.full(num_classes, -jnp.inf).at[0].set(0.0)
    np.testing.assert_allclose(entropy(uniform), math.log(num_classes), rtol=1e-5)
    assert entropy(certain) == 0.0


def test_zero_log_zero_is_zero_and_so_is_its_gradient():
    value, gradient = jax.value_and_grad(entropy)(log(np.array([0.25, 0.75, 0.0])))
    np.testing.assert_allclose(value, loops_entropy([0.25, 0.75]), rtol=1e-6)
    np.testing.assert_allclose(gradient[:2], [-q * (math.log(q) + 1) for q in (0.25, 0.75)], rtol=1e-5)
    assert gradient[2] == 0.0


def test_entropy_of_logits_of_1e4_is_finite_and_differentiable():
    value, gradient = jax.value_and_grad(lambda z: entropy(jax.nn.log_softmax(z)))(jnp.array([1e4, 0.0, -1e4]))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


# mutual information


def test_mutual_information_is_the_entropy_of_the_mean_less_the_mean_entropy():
    p = dirichlet(20, 5)
    expected = [loops_mutual_information(row) for row in p]
    np.testing.assert_allclose(mutual_information(log(p)), expected, atol=2e-6)


def test_mutual_information_is_the_mean_kullback_leibler_divergence_from_the_consensus():
    p = dirichlet(20, 5)
    expected = []
    for row in p:
        mean = loops_marginal(row)
        divergences = [sum(q * math.log(q / m) for q, m in zip(s, mean, strict=True) if q > 0) for s in row]
        expected.append(sum(divergences) / len(row))
    np.testing.assert_allclose(mutual_information(log(p)), expected, atol=2e-6)


@pytest.mark.parametrize(("num_samples", "num_classes"), [(1, 4), (2, 10), (10, 2), (50, 3)])
def test_mutual_information_never_leaves_zero_to_min_log_k_log_c_even_by_rounding(num_samples, num_classes):
    agree = np.repeat(dirichlet(200, 1, num_classes=num_classes), num_samples, axis=1)
    disagree = np.eye(num_classes)[np.arange(200 * num_samples).reshape(200, num_samples) % num_classes]
    values = mutual_information(log(np.concatenate([agree, disagree])))
    assert values.min() >= 0.0
    assert values.max() <= np.float32(math.log(min(num_samples, num_classes)))


def test_members_that_agree_carry_no_information():
    same = np.repeat(dirichlet(30, 1), 7, axis=1)
    np.testing.assert_allclose(mutual_information(log(same)), 0.0, atol=2e-6)


def test_float64_is_kept():
    p = dirichlet(10, 5)
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        values = mutual_information(jnp.asarray(np.log(p)))
        assert values.dtype == jnp.float64
    np.testing.assert_allclose(values, [max(0.0, loops_mutual_information(row)) for row in p], atol=1e-12)
