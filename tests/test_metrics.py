import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import metrics

RNG = np.random.default_rng(0)
accuracy, nll, brier = (jax.jit(metric) for metric in (metrics.accuracy, metrics.nll, metrics.brier))
ece = jax.jit(metrics.ece, static_argnums=2)


def log(p):
    with np.errstate(divide="ignore"):
        return np.log(p).astype(np.float32)


def predictions(*shape, num_classes=4):
    return RNG.dirichlet(np.full(num_classes, 0.7), shape), RNG.integers(0, num_classes, shape)


def loops(metric, p, labels):
    """The mean of `metric(probabilities of one row, its label)`."""
    rows, flat = p.reshape(-1, p.shape[-1]), labels.ravel()
    return sum(metric(row, label) for row, label in zip(rows, flat, strict=True)) / len(flat)


def loops_ece(confidence, correct, num_bins):
    """Guo et al. 2017, eq. 3, bin by bin: bin b holds the rows with confidence in (b/num_bins, (b+1)/num_bins]."""
    total = 0.0
    for b in range(num_bins):
        inside = [i for i, c in enumerate(confidence) if b / num_bins < c <= (b + 1) / num_bins]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            mean_confidence = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean_confidence)
    return total


def hit(p, label):
    return float(max(range(len(p)), key=lambda c: p[c]) == label)


REFERENCES = {
    "accuracy": (accuracy, hit),
    "nll": (nll, lambda p, label: -math.log(p[label])),
    "brier": (brier, lambda p, label: sum((p[c] - (c == label)) ** 2 for c in range(len(p)))),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("shape", [(50,), (1,), (3, 4, 5)], ids=["rows", "one row", "seeds of images"])
def test_a_metric_is_the_mean_over_all_leading_axes(name, shape):
    metric, reference = REFERENCES[name]
    p, labels = predictions(*shape)
    np.testing.assert_allclose(metric(log(p), labels), loops(reference, p, labels), rtol=1e-5)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.nll, metrics.brier, metrics.ece])
def test_metrics_are_floating_scalars_the_same_under_jit_and_vmap(metric):
    p, labels = predictions(3, 20)
    log_p, labels = jnp.asarray(log(p)), jnp.asarray(labels)
    one = metric(log_p[0], labels[0])
    assert one.shape == ()
    assert one.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(jax.vmap(metric))(log_p, labels)[0], one, rtol=1e-6)


@pytest.mark.parametrize(
    ("metric", "right", "wrong"),
    [(accuracy, 1, 0), (nll, 0, np.inf), (brier, 0, 2), (ece, 0, 1)],
)
def test_the_values_of_certain_predictions(metric, right, wrong):
    certain, labels = log(np.eye(3)), np.arange(3)
    assert metric(certain, labels) == right
    assert metric(certain, (labels + 1) % 3) == wrong


def test_the_values_of_a_uniform_prediction():
    uniform, labels = log(np.full((4, 4), 0.25)), np.arange(4)
    np.testing.assert_allclose(nll(uniform, labels), math.log(4), rtol=1e-6)
    np.testing.assert_allclose(brier(uniform, labels), 0.75, rtol=1e-6)
    assert ece(uniform, labels) == 0.0  # one in four is right, at a confidence of one quarter


def test_a_class_of_probability_zero_costs_nothing_when_it_is_not_the_label():
    assert nll(log(np.array([[0.5, 0.5, 0.0]])), np.array([0])) == np.float32(math.log(2))


# calibration


@pytest.mark.parametrize("num_bins", [1, 2, 10, 15])
def test_ece_is_the_weighted_gap_between_accuracy_and_confidence_of_each_bin(num_bins):
    p, labels = predictions(300)
    log_p = log(p)
    confidence = np.asarray(jnp.exp(jnp.asarray(log_p.max(-1))), np.float64)
    correct = [hit(row, label) for row, label in zip(p, labels, strict=True)]
    expected = loops_ece(confidence, correct, num_bins)
    np.testing.assert_allclose(ece(log_p, labels, num_bins), expected, rtol=1e-5)


def test_a_confidence_on_a_bin_edge_belongs_to_the_bin_below_and_one_to_the_last():
    confidence = np.array([0.625, 0.75, 0.75, 0.875, 1.0, 1.0])
    labels = np.array([1, 1, 1, 0, 0, 0])
    log_p = log(np.stack([confidence, 1 - confidence], -1))
    np.testing.assert_array_equal(jnp.exp(jnp.asarray(log_p.max(-1))), confidence)  # on the edges exactly
    ours = ece(log_p, labels, num_bins=4)
    np.testing.assert_allclose(ours, loops_ece(confidence, labels == 0, 4), rtol=1e-6)
    above = np.where(confidence == 0.75, 0.75 + 1e-6, confidence)  # the other choice gives another number here
    assert abs(ours - loops_ece(above, labels == 0, 4)) > 0.04


def test_a_bin_that_is_wrong_both_ways_is_judged_by_its_mean():
    log_p = log(np.array([[0.8, 0.2]] * 5))
    np.testing.assert_allclose(ece(log_p, np.array([0, 0, 0, 0, 1])), 0.0, atol=1e-6)
    np.testing.assert_allclose(ece(log_p, np.ones(5, int)), 0.8, rtol=1e-6)


def test_ece_pools_all_leading_axes_before_it_bins():
    p, labels = predictions(3, 40)
    flat = ece(log(p.reshape(120, -1)), labels.ravel())
    np.testing.assert_allclose(ece(log(p), labels), flat, rtol=1e-6)


# labels together


def joint_by_loops(p, labels):
    """-log mean_k prod_i p_k(y_i), averaged over batches, by multiplying probabilities in float64: p [m, tau, K, C]."""
    total = 0.0
    for batch, of_batch in zip(p, labels, strict=True):
        likelihood = [math.prod(batch[i, k, y] for i, y in enumerate(of_batch)) for k in range(batch.shape[1])]
        total -= math.log(sum(likelihood) / len(likelihood))
    return total / len(p)


def own(p, labels):
    """log p_k(y_i | x_i): [m, tau, K, C] and [m, tau] -> [m, tau, K]."""
    return log(np.take_along_axis(p, labels[..., None, None], axis=-1)[..., 0])


joint_nll = jax.jit(metrics.joint_nll)


def test_joint_nll_is_of_the_mean_over_samples_of_the_product_over_rows():
    p, labels = predictions(6, 4, 5)
    labels = labels[:, :, 0]
    np.testing.assert_allclose(joint_nll(own(p, labels)), joint_by_loops(p, labels), rtol=1e-5)


def test_joint_nll_of_single_rows_is_the_nll_of_the_mean():
    p, labels = predictions(30, 1, 5)
    labels = labels[:, :, 0]
    np.testing.assert_allclose(joint_nll(own(p, labels)), nll(log(p.mean(2)), labels), rtol=1e-5)


def test_joint_nll_rewards_samples_that_are_right_together_where_the_marginals_are_equal():
    """Two functions, each certain that all labels are alike, against two that do not know a label from another."""
    alike, unknown, labels = np.array([[0.99, 0.01]] * 2), np.full((2, 2), 0.5), np.ones((1, 2), int)
    together, apart = (np.stack([p, 1 - p], -1)[None] for p in (alike, unknown))
    np.testing.assert_allclose(nll(log(together.mean(2)), labels), nll(log(apart.mean(2)), labels), rtol=1e-6)
    np.testing.assert_allclose(joint_nll(own(together, labels)), -math.log((0.99**2 + 0.01**2) / 2), rtol=1e-5)
    np.testing.assert_allclose(joint_nll(own(apart, labels)), 2 * math.log(2), rtol=1e-6)


def test_joint_nll_of_many_labels_does_not_underflow_and_an_impossible_one_is_infinite():
    many = np.full((1, 1000, 3), -5.0, np.float32)  # exp(-5000) is 0 in any float
    np.testing.assert_allclose(joint_nll(many), 5000, rtol=1e-6)
    assert joint_nll(np.where(np.arange(1000)[:, None] == 7, -np.inf, many)) == np.inf
