"""BatchBALD is exact where it can be, unbiased within its stated error where it samples, and greedy either way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from al_jax.acquisitions import acquire, bald, batchbald
from al_jax.acquisitions.draws.batchbald import TOLERANCE
from al_jax.acquisitions.toolbox import configurations as tools
from al_jax.acquisitions.toolbox.configurations import (
    Configurations,
    conditional_entropies,
    extend,
    grouped,
    mean_conditional_entropy,
    posterior_weights,
    start,
)
from al_jax.information import entropy, joint_entropy, joint_mutual_information, log_marginal

KEY = jax.random.key(0)


def table(rows: int, samples: int, classes: int, spread: float = 2.0, seed: int = 0) -> np.ndarray:
    """log p(y | x, w) [N, K, C] with disagreement between samples."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 1, classes)) + generator.normal(size=(rows, samples, classes))
    logits *= spread
    return (logits - logsumexp(logits, axis=-1, keepdims=True)).astype(np.float32)


def by_enumeration(log_probs: np.ndarray) -> float:
    """H(y_1..y_B) over all label configurations, one after the other, in float64."""
    probs = np.exp(np.asarray(log_probs, np.float64))
    total = 0.0
    for labels in itertools.product(range(probs.shape[2]), repeat=len(probs)):
        p = np.prod([probs[i, :, label] for i, label in enumerate(labels)], axis=0).mean()
        total -= p * np.log(p) if p > 0 else 0.0
    return total


def information(log_probs: np.ndarray) -> float:
    """I(y_1..y_B; w) by enumeration."""
    probs = np.exp(np.asarray(log_probs, np.float64))
    terms = np.where(probs > 0, probs * np.log(np.where(probs > 0, probs, 1)), 0)
    return by_enumeration(log_probs) + terms.sum(-1).mean(1).sum()


JOINT = jax.jit(lambda log_probs: (joint_entropy(log_probs), joint_mutual_information(log_probs)))


@given(st.sampled_from([(1, 4, 3), (2, 1, 2), (3, 5, 4), (4, 3, 2)]), st.floats(0, 20), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_the_joint_entropy_is_that_of_all_configurations(shape, spread, seed):
    log_probs = table(*shape, spread, seed)
    ours, gain = JOINT(log_probs)
    assert float(ours) == pytest.approx(by_enumeration(log_probs), abs=2e-5)
    assert float(gain) == pytest.approx(information(log_probs), abs=2e-5)


def test_ten_rows_of_ten_classes_exactly_as_a_product_of_two_halves():
    """All 10^10 configurations in float64: the joint of two halves is one matrix product."""
    log_probs = table(10, 4, 4, seed=3).astype(np.float64)

    def half(part):
        joint = np.zeros((1, 4))
        for row in part:
            joint = (joint[:, None] + row.T).reshape(-1, 4)
        return np.exp(joint)

    left, right = half(log_probs[:5]), half(log_probs[5:])
    p = left @ right.T / 4
    conditional = -(np.exp(log_probs) * log_probs).sum(-1).mean(1).sum()
    expected = -(p * np.log(p)).sum() - conditional
    scores = acquire(batchbald(4**9), log_probs.astype(np.float32), 10).scores
    assert float(scores[-1]) == pytest.approx(expected, abs=1e-4)


def greedy(log_probs: np.ndarray, batch_size: int) -> list[float]:
    chosen, scores = [], []
    for _ in range(batch_size):
        gains = [-np.inf if i in chosen else information(log_probs[[*chosen, i]]) for i in range(len(log_probs))]
        chosen.append(int(np.argmax(gains)))
        scores.append(max(gains))
    return scores


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("shape", [(12, 5, 3), (7, 3, 2), (5, 1, 3)])
def test_while_exact_it_is_the_greedy_algorithm(shape, lazy):
    log_probs = table(*shape)
    acquired = acquire(batchbald(shape[2] ** 3, lazy=lazy), log_probs, 4)
    np.testing.assert_allclose(acquired.scores, greedy(log_probs, 4), atol=1e-5)
    assert information(log_probs[acquired.indices]) == pytest.approx(float(acquired.scores[-1]), abs=1e-5)
    assert np.all(np.asarray(acquired.info["standard_error"]) == 0)


@pytest.mark.parametrize("capacity", [3**5, 60], ids=["exact", "sampled"])
@pytest.mark.parametrize("groups", [1, 2, 16, 60])
def test_groups_of_configurations_bound_every_gain(monkeypatch, capacity, groups):
    monkeypatch.setattr(tools, "GROUPS", groups)
    log_probs = jnp.asarray(table(90, 6, 3, 1.5))
    configurations = sampled(KEY, log_probs[:5], capacity)
    beliefs = posterior_weights(configurations)
    centres, weights = grouped(beliefs, configurations)
    assert weights.shape == (groups,)
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(weights @ centres, configurations.weights @ beliefs, atol=1e-5)
    bounds = weights @ conditional_entropies(centres, log_probs)
    assert np.all(bounds >= mean_conditional_entropy(beliefs, configurations, log_probs) - 1e-5)
    if groups == 1 and capacity == 3**5:
        np.testing.assert_allclose(bounds, entropy(log_marginal(log_probs)), atol=1e-5, err_msg="nothing is known")


def test_lazy_with_few_groups_selects_what_computing_every_gain_selects(monkeypatch):
    monkeypatch.setattr(tools, "GROUPS", 8)
    log_probs = table(400, 20, 4, 0.7)
    lazy, full = (acquire(batchbald(256, lazy=lazy), log_probs, 5) for lazy in (True, False))
    np.testing.assert_array_equal(lazy.indices, full.indices)
    np.testing.assert_allclose(lazy.scores, full.scores, atol=1e-6)
    assert np.mean(lazy.info["evaluated"][1:]) < 0.5, "or nothing was saved"


LAZY, FULL = (
    jax.jit(lambda table, lazy=lazy: batchbald(243, lazy=lazy).select(KEY, None, table, jnp.ones(90, bool), 6))
    for lazy in (True, False)
)


@given(st.integers(0, 1000), st.floats(0.1, 8))
@example(276, 7.456685775334084)  # the two best gains of the last pick are 4.23e-6 and 4.21e-6
@settings(max_examples=30, deadline=None)
def test_lazy_selects_what_computing_every_gain_selects(seed, spread):
    log_probs = jnp.asarray(table(90, 6, 3, spread, seed))
    lazy, full = LAZY(log_probs), FULL(log_probs)
    np.testing.assert_allclose(lazy.scores, full.scores, atol=TOLERANCE)
    decided = np.append(True, np.minimum.accumulate(np.diff(full.scores) > TOLERANCE))
    np.testing.assert_array_equal(lazy.indices[decided], full.indices[decided])
    assert np.all(np.asarray(full.info["evaluated"])[1:] == 1)


EXACT = batchbald(125)


@given(st.integers(0, 1000), st.floats(0, 30), st.sampled_from([(1, 2), (6, 5)]))
@settings(max_examples=20, deadline=None)
def test_while_exact_scores_rise_from_bald_and_stay_within_their_bounds(seed, spread, shape):
    samples, classes = shape
    log_probs = table(20, samples, classes, spread, seed)
    scores = np.asarray(acquire(EXACT, log_probs, 4).scores)
    assert scores[0] == pytest.approx(float(bald(jnp.asarray(log_probs)).max()), abs=1e-6)
    assert np.all(np.diff(scores) >= -1e-5)
    limits = np.minimum(np.log(samples), np.arange(1, 5) * np.log(classes))
    assert np.all(scores <= limits + 1e-5)


def test_the_first_pick_is_the_best_by_bald_among_the_available():
    log_probs = table(50, 8, 4)
    available = np.arange(50) % 3 == 0
    scores = np.where(available, bald(jnp.asarray(log_probs)), -np.inf)
    assert acquire(batchbald(100), log_probs, 3, available).indices[0] == scores.argmax()


def test_when_sampled_it_is_unbiased_within_its_stated_standard_error():
    log_probs = jnp.asarray(table(6, 12, 4, seed=5))
    exact = information(np.asarray(log_probs))
    select = jax.jit(jax.vmap(lambda key: batchbald(60).select(key, None, log_probs, jnp.ones(6, bool), 6)))
    acquired = select(jax.random.split(KEY, 200))
    scores, errors = acquired.scores[:, -1], acquired.info["standard_error"][:, -1]
    assert 1e-4 < scores.std() < errors.mean(), "the stated error is an upper bound"
    assert abs(scores.mean() - exact) < 4 * scores.std() / np.sqrt(200)
    assert np.all(np.abs(scores - exact) < 4 * errors)


@pytest.mark.parametrize("spread", [0.3, 2.0, 4.0, 8.0])
def test_no_saturated_batch_tells_more_than_log_k(spread):
    """Greedy picks seek out the error: with weights 1 / K for all samples it was 4.23 of 3.91 nats, on average."""
    log_probs = jnp.asarray(table(100, 50, 4, spread))
    select = jax.jit(jax.vmap(lambda key: batchbald(500).select(key, None, log_probs, jnp.ones(100, bool), 20)))
    acquired = select(jax.random.split(KEY, 6))
    scores, errors = np.asarray(acquired.scores), np.asarray(acquired.info["standard_error"])
    assert (scores <= np.log(50) + 4 * errors + 1e-4).all()
    assert scores[:, -1].mean() < np.log(50) + 1e-3
    assert scores[:, -1].std() < errors[:, -1].mean() + 1e-4, "the stated error is an upper bound"


def test_the_search_stays_lazy_when_there_is_nothing_left_to_gain():
    certain = np.full((400, 20, 3), -np.inf, np.float32)
    certain[np.arange(400)[:, None], np.arange(20), np.random.default_rng(0).integers(3, size=(400, 20))] = 0.0
    acquired = acquire(batchbald(200), certain, 12)
    assert acquired.scores[-1] == pytest.approx(np.log(20), abs=1e-4), "the samples are told apart"
    assert acquired.info["evaluated"][-4:].max() < 0.3


def sampled(key, log_probs, capacity):
    def step(configurations, row_and_step):
        row, number = row_and_step
        return extend(jax.random.fold_in(key, number), configurations, row, number), None

    begin = start(capacity, log_probs.shape[1])
    return jax.lax.scan(step, begin, (log_probs, jnp.arange(1, len(log_probs) + 1)))[0]


def test_keeping_the_heaviest_has_far_less_variance_than_sampling_all():
    log_probs = jnp.asarray(table(6, 20, 5, 3.0, seed=2))
    past, row = log_probs[:5], log_probs[5]

    def kept(key):
        configurations = sampled(key, past, 100)
        return mean_conditional_entropy(posterior_weights(configurations), configurations, row[None])[0]

    def resampled(key):  # the usual estimator: label configurations drawn from the samples, weighted equally
        which, labels = jax.random.split(key)
        samples = jax.random.randint(which, (100,), 0, 20)
        drawn = jax.random.categorical(labels, past[:, samples], axis=-1)  # [5, 100]
        likelihoods = sum(past[i][:, drawn[i]].T for i in range(5))
        one = Configurations(likelihoods, jnp.full(100, 0.01), jnp.zeros(100, int), jnp.asarray(100))
        return mean_conditional_entropy(posterior_weights(one), one, row[None])[0]

    keys = jax.random.split(KEY, 300)
    ours, usual = (np.asarray(jax.jit(jax.vmap(f))(keys)) for f in (kept, resampled))
    assert ours.mean() == pytest.approx(usual.mean(), abs=4 * usual.std() / np.sqrt(300))
    assert ours.var() < usual.var() / 5


@pytest.mark.parametrize("spread", [0.01, 30.0], ids=["near-uniform", "peaked"])
@pytest.mark.parametrize(("classes", "length"), [(10, 40), (47, 25)])
def test_long_configurations_do_not_underflow(classes, length, spread):
    log_probs = table(length + 3, 8, classes, spread)
    past, rows = jnp.asarray(log_probs[:length]), log_probs[length:]
    configurations = jax.jit(sampled, static_argnums=2)(KEY, past, 200)
    ours = mean_conditional_entropy(posterior_weights(configurations), configurations, jnp.asarray(rows))
    likelihoods = np.asarray(configurations.log_likelihoods, np.float64)
    beliefs = np.exp(likelihoods - logsumexp(likelihoods, axis=1, keepdims=True))
    p = np.einsum("mk,nkc->mnc", beliefs, np.exp(rows.astype(np.float64)))
    entropies = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)
    np.testing.assert_allclose(ours, np.asarray(configurations.weights, np.float64) @ entropies, atol=1e-4)
    assert configurations.weights.sum() == pytest.approx(1, abs=1e-5)
    scores = acquire(batchbald(200), log_probs, length).scores
    assert np.isfinite(scores).all()


def test_rows_in_another_order_are_the_same_rows():
    log_probs = table(30, 6, 3)
    order = np.random.default_rng(1).permutation(30)
    a, b = acquire(batchbald(81), log_probs, 4), acquire(batchbald(81), log_probs[order], 4)
    np.testing.assert_array_equal(a.indices, order[b.indices])


def test_duplicates_are_picked_when_they_inform_and_named():
    """A copy of a row whose label is noisy tells something new; BatchBALD knows that it tells less."""
    log_probs = np.concatenate([table(1, 6, 3, 1.0), table(4, 6, 3, 0.05)])[[0, 0, 0, 1, 2, 3, 4]]
    acquired = acquire(batchbald(81), log_probs, 4)
    assert set(np.asarray(acquired.indices)[:3]) == {0, 1, 2}
    np.testing.assert_array_equal(acquired.info["duplicate"], [False, True, True, False])
    gains = np.diff(np.asarray(acquired.scores), prepend=0)
    assert gains[0] > gains[1] > gains[2] > 0


def test_probabilities_of_0_and_1():
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (20, 8))])
    scores = np.asarray(acquire(batchbald(64), log_probs, 5).scores)
    assert np.isfinite(scores).all()
    assert scores[-1] == pytest.approx(information(log_probs[acquire(batchbald(64), log_probs, 5).indices]), abs=1e-5)


def test_with_one_sample_there_is_nothing_to_learn():
    acquired = acquire(batchbald(9), table(6, 1, 3), 4)
    np.testing.assert_allclose(acquired.scores, 0, atol=1e-6)
    np.testing.assert_array_equal(acquired.info["saturation"], 0)


def test_float32_agrees_with_float64():
    log_probs = table(40, 6, 3)

    def select(dtype):
        return batchbald(81).select(KEY, None, jnp.asarray(log_probs, dtype), jnp.ones(40, bool), 5)

    single = select(jnp.float32)
    with jax.enable_x64(True):
        double = select(jnp.float64)
    assert double.scores.dtype == np.float64
    np.testing.assert_array_equal(single.indices, double.indices)
    np.testing.assert_allclose(single.scores, double.scores, atol=1e-5)


@pytest.mark.parametrize("fallback", ["stochastic_bald", "random"])
def test_a_saturated_batch_is_filled_by_the_fallback(fallback):
    log_probs = table(60, 3, 4, 6.0)
    plain = acquire(batchbald(256), log_probs, 8)
    filled = acquire(batchbald(256, stop_when_saturated=True, fallback=fallback), log_probs, 8)
    over = int(np.argmax(np.asarray(plain.info["saturation"]) > 0.95)) + 1
    assert 1 <= over < 7
    np.testing.assert_array_equal(filled.indices[:over], plain.indices[:over])
    assert filled.indices[over:].tolist() != plain.indices[over:].tolist()
    np.testing.assert_array_equal(np.asarray(filled.info["evaluated"])[over:], 0)
    assert len(set(filled.indices.tolist())) == 8
    assert np.isfinite(filled.scores).all()


def test_compile_time_does_not_grow_with_the_batch():
    def equations(batch_size):
        def select(key, log_probs):
            return batchbald(100).select(key, None, log_probs, jnp.ones(50, bool), batch_size)

        return len(jax.jit(select).lower(KEY, jnp.zeros((50, 4, 3))).as_text().splitlines())

    assert equations(30) == equations(5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_configurations": 0}, "num_configurations=0: expected at least 1"),
        ({"fallback": "bald"}, "fallback='bald': expected 'stochastic_bald' or 'random'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        batchbald(**options)


@pytest.mark.parametrize(
    ("log_probs", "batch_size", "message"),
    [
        (table(4, 3, 3), 5, "batch_size=5: expected 1 to 4"),
        (table(4, 3, 3)[None], 1, r"expected \[N, K, C\]"),
        (table(4, 3, 3) - 1, 2, "log_probs"),
        (table(4, 3, 3) * np.nan, 2, "log_probs"),
    ],
)
def test_bad_tables_are_named(log_probs, batch_size, message):
    with pytest.raises(ValueError, match=message):
        acquire(batchbald(10), log_probs, batch_size)
