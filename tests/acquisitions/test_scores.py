import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import acquisitions
from al_jax.acquisitions import bald, entropy, margin, mean_kl, mean_std, variation_ratio, vote_entropy

K, C = 3, 4


def std(log_probs):
    return mean_std(log_probs, ddof=1)


SCORES = {
    "entropy": entropy,
    "least_confidence": acquisitions.least_confidence,
    "margin": margin,
    "bald": bald,
    "mean_kl": mean_kl,
    "mean_std": mean_std,
    "mean_std with ddof=1": std,
    "variation_ratio": variation_ratio,
    "vote_entropy": vote_entropy,
}
JITTED = {name: jax.jit(score) for name, score in SCORES.items()}
GRADIENTS = {name: jax.jit(jax.grad(score)) for name, score in SCORES.items()}
every_score = pytest.mark.parametrize("name", SCORES)


# The definitions, as loops over one row's probabilities p[k][c] in float64.


def loops_mean(p):
    return [sum(sample[c] for sample in p) / len(p) for c in range(len(p[0]))]


def loops_entropy(q):
    return -sum(x * math.log(x) for x in q if x > 0)


def loops_margin(p):
    second, first = sorted(loops_mean(p))[-2:]
    return second - first


def loops_bald(p):
    return loops_entropy(loops_mean(p)) - sum(loops_entropy(sample) for sample in p) / len(p)


def loops_mean_kl(p):
    mean = loops_mean(p)
    return sum(sum(x * math.log(x / m) for x, m in zip(s, mean, strict=True) if x > 0) for s in p) / len(p)


def loops_mean_std(p, ddof=0):
    total = 0.0
    for c in range(len(p[0])):
        mean = sum(sample[c] for sample in p) / len(p)
        total += math.sqrt(sum((sample[c] - mean) ** 2 for sample in p) / (len(p) - ddof))
    return total / len(p[0])


def loops_votes(p):
    votes = [0.0] * len(p[0])
    for sample in p:
        winners = [c for c in range(len(sample)) if sample[c] == max(sample)]
        for c in winners:
            votes[c] += 1 / len(winners) / len(p)
    return votes


REFERENCES = {
    "entropy": lambda p: loops_entropy(loops_mean(p)),
    "least_confidence": lambda p: 1 - max(loops_mean(p)),
    "margin": loops_margin,
    "bald": loops_bald,
    "mean_kl": loops_mean_kl,
    "mean_std": loops_mean_std,
    "mean_std with ddof=1": lambda p: loops_mean_std(p, ddof=1),
    "variation_ratio": lambda p: 1 - max(loops_votes(p)),
    "vote_entropy": lambda p: loops_entropy(loops_votes(p)),
}


def log(p):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(p)).astype(np.float32)


def reference(name, log_probs):
    """The loops, on the very numbers that the score is given."""
    p = np.exp(np.asarray(log_probs, np.float64))
    rows = p.reshape(-1, *p.shape[-2:]).tolist()
    return np.array([REFERENCES[name](row) for row in rows]).reshape(p.shape[:-2])


def dirichlet(n, seed=0, concentration=0.5, num_samples=K, num_classes=C):
    """[n, K, C] probabilities, about a third of them exactly zero."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(num_classes, concentration), (n, num_samples))
    p = np.where(rng.random(p.shape) < 1 / 3, 0.0, p)
    p[..., 0] += p.sum(-1) == 0
    return p / p.sum(-1, keepdims=True)


ONE_HOT = np.eye(C)[[[0, 0, 0], [0, 1, 2], [3, 3, 1]]]
UNIFORM = np.full((1, K, C), 1 / C)
TIED = np.array([[[0.5, 0.5, 0, 0], [0.4, 0.4, 0.1, 0.1], [0, 0, 1, 0]]])
LOG_PROBS = log(np.concatenate([dirichlet(10), dirichlet(10, 1, concentration=5.0), ONE_HOT, UNIFORM, TIED]))


# The definitions


@every_score
def test_a_score_is_its_definition(name):
    np.testing.assert_allclose(JITTED[name](LOG_PROBS), reference(name, LOG_PROBS), rtol=1e-5, atol=2e-6)


@st.composite
def log_predictions(draw):
    """log-probabilities [3, 4] of logits up to 1e4 in size, classes ruled out, samples repeated."""
    small, large = st.floats(-5, 5, width=32), st.floats(-(2.0**13), 2.0**13, width=32)
    logits = draw(hnp.arrays(np.float64, (K, C), elements=st.one_of(small, large, st.just(0.0))))
    ruled_out = draw(hnp.arrays(bool, (K, C)))
    ruled_out[:, draw(st.integers(0, C - 1))] = False
    logits = np.where(ruled_out, -np.inf, logits)
    if draw(st.booleans()):
        logits[1] = logits[0]
    shifted = logits - logits.max(-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32)


BOUNDS = {
    "entropy": (0, math.log(C)),
    "least_confidence": (0, 1 - 1 / C),
    "margin": (-1, 0),
    "bald": (0, math.log(min(K, C))),
    "mean_kl": (0, math.log(min(K, C))),
    "mean_std": (0, 0.5),
    "mean_std with ddof=1": (0, 1),
    "variation_ratio": (0, 1 - 1 / C),
    "vote_entropy": (0, math.log(C)),
}


@every_score
@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
@hypothesis.given(log_probs=log_predictions(), seed=st.integers(0, 9))
def test_any_predictions_get_a_score_by_the_definition_within_bounds_in_any_order(name, log_probs, seed):
    value = JITTED[name](log_probs)
    low, high = BOUNDS[name]
    assert low - 1e-6 <= value <= high + 1e-6
    np.testing.assert_allclose(value, reference(name, log_probs), atol=5e-6)
    rng = np.random.default_rng(seed)
    np.testing.assert_allclose(JITTED[name](log_probs[rng.permutation(K)][:, rng.permutation(C)]), value, atol=5e-6)


# Closed forms


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.1, 0.9), (0.3, 0.3), (0.0, 0.5), (0.2, 0.7)])
def test_bald_of_two_bernoullis_is_their_jensen_shannon_divergence(a, b):
    def h(p):
        return loops_entropy([p, 1 - p])

    np.testing.assert_allclose(
        JITTED["bald"](log([[a, 1 - a], [b, 1 - b]])), h((a + b) / 2) - (h(a) + h(b)) / 2, atol=1e-6
    )


@pytest.mark.parametrize("name", ["bald", "mean_kl", "mean_std", "mean_std with ddof=1"])
def test_members_that_agree_have_nothing_to_disagree_about(name):
    same = np.repeat(LOG_PROBS[:, :1], K, axis=1)
    np.testing.assert_allclose(JITTED[name](same), 0.0, atol=2e-6)


@pytest.mark.parametrize("members", [1, 2, 5, 50])
def test_members_certain_of_different_classes_are_worth_log_k(members):
    p = log(np.eye(members))
    for name in ("bald", "mean_kl", "vote_entropy", "entropy"):
        np.testing.assert_allclose(JITTED[name](p), math.log(members), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(JITTED["variation_ratio"](p), 1 - 1 / members, rtol=1e-6)


@pytest.mark.parametrize("num_classes", [1, 2, 10, 1000])
def test_a_uniform_prediction_has_the_entropy_log_c_and_carries_no_information(num_classes):
    uniform = log(np.full((5, num_classes), 1 / num_classes))
    np.testing.assert_allclose(JITTED["entropy"](uniform), math.log(num_classes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(JITTED["bald"](uniform), 0.0, atol=1e-5)
    np.testing.assert_allclose(JITTED["least_confidence"](uniform), 1 - 1 / num_classes, atol=1e-5)
    np.testing.assert_allclose(JITTED["vote_entropy"](uniform), math.log(num_classes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], 0.5),  # a first-class rule would say 0
        ([[0.5, 0.5], [0.2, 0.8]], 0.25),
        ([[0.5, 0.5], [0.8, 0.2]], 0.25),
        ([[0.4, 0.4, 0.2], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], 1 / 3),
        ([[1.0, 0.0], [1.0, 0.0]], 0.0),
    ],
)
def test_tied_votes_are_split_among_the_tied_classes(p, expected):
    np.testing.assert_allclose(JITTED["variation_ratio"](log(p)), expected, atol=1e-6)


def test_variation_ratio_counts_votes_and_not_the_mean():
    p = log([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]])  # the mean prefers class 1, two of three votes class 0
    np.testing.assert_allclose(JITTED["variation_ratio"](p), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(JITTED["least_confidence"](p), 0.4, rtol=1e-6)


def test_mean_kl_to_the_consensus_and_bald_are_one_score():
    assert mean_kl is bald
    np.testing.assert_allclose(reference("mean_kl", LOG_PROBS), reference("bald", LOG_PROBS), atol=1e-7)


def test_the_margin_of_the_mean_is_minus_the_gap_of_its_two_best_classes():
    np.testing.assert_allclose(JITTED["margin"](log([[0.5, 0.3, 0.2]])), -0.2, rtol=1e-5)
    np.testing.assert_allclose(JITTED["margin"](log([[1.0, 0.0, 0.0]])), -1.0, rtol=1e-6)
    np.testing.assert_allclose(JITTED["margin"](log([[1.0, 0.0], [0.0, 1.0]])), 0.0, atol=1e-6)
    np.testing.assert_allclose(JITTED["margin"](log([[1.0]])), -1.0)  # a single class: the second counts as 0


def test_mean_std_divides_by_k_and_with_ddof_one_by_k_minus_one():
    p = log([[0.1, 0.9], [0.3, 0.7]])
    np.testing.assert_allclose(JITTED["mean_std"](p), 0.1, rtol=1e-5)
    np.testing.assert_allclose(JITTED["mean_std with ddof=1"](p), 0.1 * math.sqrt(2), rtol=1e-5)


def test_mean_std_reads_all_samples_and_not_one_sample_repeated():
    # Gal's 2017 scripts took the deviation over one repeated sample: zero everywhere, hence random acquisition.
    p = dirichlet(50, concentration=2.0)
    repeated = np.repeat(p[:, :1], K, axis=1)
    assert np.ptp(JITTED["mean_std"](log(repeated))) < 1e-6
    values = np.asarray(JITTED["mean_std"](log(p)))
    assert values.min() > 0.01
    np.testing.assert_array_equal(np.argsort(values), np.argsort(reference("mean_std", log(p))))


@pytest.mark.parametrize(("num_samples", "ddof"), [(1, 1), (2, 2), (1, 3)])
def test_mean_std_of_too_few_samples_is_an_error(num_samples, ddof):
    with pytest.raises(ValueError, match=f"ddof={ddof} .* K={num_samples}"):
        mean_std(jnp.asarray(log(dirichlet(2, num_samples=num_samples))), ddof=ddof)


# Laws


@every_score
def test_the_order_of_samples_and_of_classes_is_irrelevant(name):
    rng = np.random.default_rng(0)
    expected = JITTED[name](LOG_PROBS)
    for _ in range(3):
        shuffled = LOG_PROBS[:, rng.permutation(K)][:, :, rng.permutation(C)]
        np.testing.assert_allclose(JITTED[name](shuffled), expected, atol=2e-6)


@every_score
def test_a_score_keeps_all_leading_axes_and_no_row_sees_another(name):
    expected = np.asarray(JITTED[name](LOG_PROBS))
    images = LOG_PROBS[:24].reshape(2, 3, 4, K, C)
    np.testing.assert_allclose(JITTED[name](images), expected[:24].reshape(2, 3, 4), atol=1e-6)
    np.testing.assert_allclose(JITTED[name](LOG_PROBS[::-1]), expected[::-1], atol=1e-6)
    np.testing.assert_allclose(JITTED[name](LOG_PROBS[5]), expected[5], atol=1e-6)
    assert JITTED[name](LOG_PROBS[5]).shape == ()


@every_score
def test_a_score_is_the_same_under_jit_and_vmap(name):
    expected = SCORES[name](jnp.asarray(LOG_PROBS))
    np.testing.assert_allclose(JITTED[name](LOG_PROBS), expected, atol=2e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(SCORES[name]))(LOG_PROBS), expected, atol=2e-6)


@every_score
def test_a_score_of_float64_is_float64_to_its_precision(name):
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        log_probs = np.log(np.concatenate([dirichlet(10), ONE_HOT]))
        value = JITTED[name](log_probs)
        assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, reference(name, log_probs), atol=1e-12)


EXTREMES = [
    [[1, -1, 0, -1], [-1, 1, 0, 0], [0, 0, 0, 0]],
    [[1, 1, 1, 1], [1, -1, -1, -1], [0, 1, 1, 0]],
    [[1, -1, -1, -1], [1, -1, -1, -1], [1, -1, -1, -1]],
]


@every_score
@pytest.mark.parametrize("size", [1.0, 1e4, 1e30])
def test_a_score_is_finite_at_any_logits(name, size):
    for logits in EXTREMES:
        log_probs = jax.nn.log_softmax(jnp.array(logits, jnp.float32) * size)
        assert np.isfinite(JITTED[name](log_probs))


@every_score
def test_a_score_is_finite_at_probabilities_zero_and_one(name):
    for p in ONE_HOT:
        assert np.isfinite(JITTED[name](log(p)))


@pytest.mark.parametrize("name", [name for name in SCORES if "ddof" not in name])
def test_one_sample_is_enough(name):
    single = log(dirichlet(10, num_samples=1))
    np.testing.assert_allclose(JITTED[name](single), reference(name, single), atol=2e-6)


# Gradients: some methods ascend a score in x


@every_score
def test_gradients_are_finite_where_some_samples_say_zero(name):
    p = log([[0.5, 0.5, 0.0, 0.0], [0.2, 0.0, 0.8, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert np.isfinite(GRADIENTS[name](p)).all()


@every_score
def test_gradients_are_finite_where_all_samples_say_zero(name):
    p = log([[0.5, 0.3, 0.2, 0.0], [0.2, 0.7, 0.1, 0.0], [0.4, 0.3, 0.3, 0.0]])
    assert np.isfinite(GRADIENTS[name](p)).all()


@every_score
def test_gradients_are_finite_where_the_samples_agree(name):
    assert np.isfinite(GRADIENTS[name](log([[0.4, 0.3, 0.2, 0.1]] * 3))).all()


@every_score
def test_gradients_with_respect_to_logits_of_1e4_are_finite(name):
    logits = jnp.array([[1e4, -1e4, 0.0, 1.0], [-1e4, 1e4, 0.0, -1.0], [0.0, 1.0, 2.0, -1e4]])
    log_probs, pull_back = jax.vjp(jax.nn.log_softmax, logits)
    assert np.isfinite(pull_back(GRADIENTS[name](log_probs))[0]).all()


def test_the_gradient_of_bald_is_that_of_finite_differences():
    logits = np.random.default_rng(0).normal(size=(K, C))
    with jax.enable_x64(True):
        f = jax.jit(lambda logits: bald(jax.nn.log_softmax(logits)))
        ours, eps = np.asarray(jax.grad(f)(jnp.asarray(logits))), 1e-5
        for k, c in [(0, 0), (1, 2), (2, 3)]:
            step = np.zeros((K, C))
            step[k, c] = eps
            slope = (f(jnp.asarray(logits + step)) - f(jnp.asarray(logits - step))) / (2 * eps)
            np.testing.assert_allclose(ours[k, c], slope, atol=1e-8)
