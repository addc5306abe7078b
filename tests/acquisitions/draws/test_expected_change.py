"""Expected change at the targets against loops over labels, targets and samples that reweight and predict again."""

import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, core_log, core_mse, eer, emoc, epig, mocu, variance_reduction, wmocu
from al_jax.acquisitions.draws.expected_change import (
    absolute_change,
    error_reduction,
    squared_change,
    weighted_cost_reduction,
)

N, K, C, T = 9, 6, 3, 5
CHANGES = {
    error_reduction: lambda before, after: (1 - before.max()) - (1 - after.max()),
    absolute_change: lambda before, after: np.abs(after - before).sum(),
    squared_change: lambda before, after: ((after - before) ** 2).sum(),
}


def by_loops(log_probs, targets, change):
    """E over labels and targets of the change, with the samples reweighted by the label's likelihood, in float64."""
    p, q = np.exp(np.asarray(log_probs, float)), np.exp(np.asarray(targets, float))
    found = np.zeros(len(p))
    for n in range(len(p)):
        for t in range(len(q)):
            for c in range(p.shape[2]):
                likely = p[n, :, c].mean()
                if likely > 0:
                    weights = p[n, :, c] / p[n, :, c].sum()
                    after = sum(weights[k] * q[t, k] for k in range(len(weights)))
                    found[n] += likely * change(q[t].mean(0), after) / len(q)
    return found


def tables(seed, sharp=1.0):
    rng = np.random.default_rng(seed)
    return [np.log(rng.dirichlet(np.full(C, 1 / sharp), (rows, K))).astype(np.float32) for rows in (N, T)]


@pytest.mark.parametrize("gain", CHANGES)
@pytest.mark.parametrize(("seed", "sharp"), [(0, 1.0), (1, 1.0), (2, 10.0), (3, 0.1)])
def test_the_gain_is_that_of_predicting_again(gain, seed, sharp):
    log_probs, targets = tables(seed, sharp)
    found = np.asarray(gain(jnp.asarray(log_probs), jnp.asarray(targets)))
    np.testing.assert_allclose(found, by_loops(log_probs, targets, CHANGES[gain]), atol=2e-6)
    assert found.min() > -1e-6


@pytest.mark.parametrize("gain", CHANGES)
def test_nothing_changes_where_all_samples_agree(gain):
    log_probs, targets = tables(0)
    agreed = np.repeat(targets[:, :1], K, 1)
    np.testing.assert_allclose(gain(jnp.asarray(log_probs), jnp.asarray(agreed)), 0, atol=1e-6)


@pytest.mark.parametrize("gain", CHANGES)
def test_certain_samples_and_impossible_labels(gain):
    certain = np.full((N, K, C), -np.inf, np.float32)
    certain[np.arange(N)[:, None], np.arange(K), np.random.default_rng(0).integers(2, size=(N, K))] = 0.0
    found = np.asarray(gain(jnp.asarray(certain), jnp.asarray(certain[:T])))
    np.testing.assert_allclose(found, by_loops(certain, certain[:T], CHANGES[gain]), atol=2e-6)


@pytest.mark.parametrize(
    ("method", "gain"), [(eer, error_reduction), (emoc, absolute_change), (core_mse, squared_change)]
)
def test_the_methods_take_the_rows_of_the_largest_gain(method, gain):
    log_probs, targets = tables(4)
    scores = by_loops(log_probs, targets, CHANGES[gain])
    acquired = acquire(method(targets), log_probs, 3)
    assert acquired.indices.tolist() == np.argsort(-scores)[:3].tolist()
    np.testing.assert_allclose(acquired.scores, np.sort(scores)[::-1][:3], atol=2e-6)


def test_core_log_is_epig_and_mocu_is_error_reduction():
    assert core_log(7) is epig(7)
    assert mocu(7) is eer(7)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sharp", [1.0, 10.0])
def test_mocu_and_wmocu_are_the_expected_fall_of_the_weighted_cost_of_uncertainty(weight, sharp):
    """E_t (1 - weight G) G, G = E_w[C_w(mean's choice) - C_w(w's own choice)], C_w the error; less after a label."""
    log_probs, targets = tables(5, sharp)
    draws = np.exp(log_probs)  # [n, K, C]
    aims = np.exp(targets)  # [T, K, C]

    def cost(weights):
        mean = np.einsum("k,tkc->tc", weights, aims)
        of_mean = np.einsum("k,tk->t", weights, 1 - np.take_along_axis(aims, mean.argmax(1)[:, None, None], 2)[..., 0])
        own = np.einsum("k,tk->t", weights, 1 - aims.max(2))
        return np.mean((1 - weight * (of_mean - own)) * (of_mean - own))

    def fall(row):
        k = len(row)
        labels = row.mean(0)
        after = [cost(row[:, c] / row[:, c].sum()) for c in range(row.shape[1])]
        return cost(np.full(k, 1 / k)) - labels @ after

    expected = [fall(row) for row in draws]
    found = weighted_cost_reduction(jnp.asarray(log_probs), jnp.asarray(targets), weight)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if weight == 0:
        np.testing.assert_allclose(error_reduction(jnp.asarray(log_probs), jnp.asarray(targets)), expected, atol=2e-6)
    chosen = acquire(wmocu(targets, weight), log_probs, 3).indices
    assert chosen.tolist() == np.argsort(-np.asarray(found), stable=True)[:3].tolist() or weight == 0


def test_wmocu_sees_labels_that_alone_change_no_decision():
    """Two classes, one target: samples agree on its class, and a label tells which of them is right."""
    target = np.log([[[0.9, 0.1], [0.6, 0.4]]]).astype(np.float32)
    row = np.log([[[0.8, 0.2], [0.3, 0.7]]]).astype(np.float32)
    assert float(error_reduction(jnp.asarray(row), jnp.asarray(target))[0]) == 0.0
    torn = np.log([[[0.9, 0.1], [0.3, 0.7]]]).astype(np.float32)
    assert float(weighted_cost_reduction(jnp.asarray(row), jnp.asarray(torn))[0]) > 0.001


def test_variance_reduction_of_classes_is_core_mse():
    log_probs, targets = tables(2)
    found, expected = (acquire(method(targets), log_probs, 3) for method in (variance_reduction, core_mse))
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_weight_outside_its_range_is_an_error():
    with pytest.raises(ValueError, match=r"weight=1\.5: expected a number from 0 to 1"):
        wmocu(4, 1.5)


def test_targets_of_another_committee_are_an_error():
    log_probs, targets = tables(0)
    with pytest.raises(ValueError, match=r"targets have shape .* as many samples as the pool"):
        acquire(eer(targets[:, :2]), log_probs, 1)
