"""Active testing: unbiased by enumeration, and fewer labels for the same error."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.active_testing import ask, expected_loss, lure, lure_weights


@pytest.mark.parametrize(("size", "number"), [(4, 1), (4, 2), (5, 3), (4, 4)])
def test_the_estimate_is_unbiased_over_all_orders_of_draws(size, number):
    """Every sequence with its probability, in float64; the next draw may depend on what was drawn."""
    rng = np.random.default_rng(size + number)
    losses = rng.exponential(size=size)
    pasts = (past for n in range(number) for past in itertools.permutations(range(size), n))
    tables = {past: rng.dirichlet(np.ones(size)) for past in pasts}
    mean, total = 0.0, 0.0
    for sequence in itertools.permutations(range(size), number):
        probability, q = 1.0, []
        for place, row in enumerate(sequence):
            table = tables[sequence[:place]].copy()
            table[list(sequence[:place])] = 0
            q.append(table[row] / table.sum())
            probability *= q[-1]
        estimate = float(lure(jnp.asarray(losses[list(sequence)]), jnp.asarray(q), size))
        mean, total = mean + probability * estimate, total + probability
    assert total == pytest.approx(1)
    assert mean == pytest.approx(losses.mean(), rel=1e-4)


def test_the_weights_are_the_papers():
    q, size = np.array([0.3, 0.1, 0.5]), 10
    expected = [1 + (10 - 3) / (10 - m) * (1 / ((10 - m + 1) * q[m - 1]) - 1) for m in (1, 2, 3)]
    np.testing.assert_allclose(lure_weights(jnp.asarray(q), size), expected, rtol=1e-5)
    uniform = 1 / np.arange(10, 6, -1)
    np.testing.assert_allclose(lure_weights(jnp.asarray(uniform), 10), 1, rtol=1e-5)
    np.testing.assert_allclose(lure_weights(jnp.asarray([0.2, 0.9, 1.0]), 3), 1)


def test_draws_are_distinct_and_their_probabilities_those_of_the_scores():
    scores = jnp.asarray([1.0, 0.0, 3.0, 4.0])
    found = jax.vmap(lambda key: ask(key, scores, 3, uniform=0.2))(jax.random.split(jax.random.key(0), 20_000))
    rows, q = np.asarray(found.rows), np.asarray(found.probabilities)
    assert all(len(set(row)) == 3 for row in rows[:500].tolist())
    expected = 0.8 * np.asarray(scores) / 8 + 0.2 / 4
    np.testing.assert_allclose(np.bincount(rows[:, 0], minlength=4) / len(rows), expected, atol=0.015)
    np.testing.assert_allclose(q[:, 0], expected[rows[:, 0]], rtol=1e-5)
    first = rows[:, 0] == 3
    after = 0.8 * np.array([1.0, 0, 3, 0]) / 4 + 0.2 / 3 * np.array([1, 1, 1, 0])
    np.testing.assert_allclose(np.bincount(rows[first, 1], minlength=4) / first.sum(), after, atol=0.02)
    np.testing.assert_allclose(q[first, 1], after[rows[first, 1]], rtol=1e-5)


def test_scores_of_zero_are_drawn_evenly():
    found = ask(jax.random.key(0), jnp.zeros(5), 5)
    np.testing.assert_allclose(found.probabilities, 1 / np.arange(5, 0, -1), rtol=1e-6)
    assert sorted(found.rows.tolist()) == list(range(5))


def test_draws_by_the_expected_loss_are_closer_than_uniform_ones():
    """Losses that the surrogate knows but for noise: the same 20 labels, a smaller squared error, no bias."""
    rng = np.random.default_rng(0)
    losses = jnp.asarray(rng.exponential(size=500) ** 3)
    scores = losses * jnp.asarray(rng.uniform(0.5, 1.5, 500))

    def error(key, scores):
        found = ask(key, scores, 20)
        return lure(losses[found.rows], found.probabilities, 500) - losses.mean()

    keys = jax.random.split(jax.random.key(0), 2000)
    active, plain = (np.asarray(jax.vmap(error, (0, None))(keys, s)) for s in (scores, jnp.ones(500)))
    assert (active**2).mean() < 0.3 * (plain**2).mean()
    assert abs(active.mean()) < 4 * active.std() / np.sqrt(2000)
    biased = np.asarray(jax.vmap(lambda key: losses[ask(key, scores, 20).rows].mean())(keys)) - float(losses.mean())
    assert biased.mean() > 10 * biased.std() / np.sqrt(2000), "the plain mean of chosen rows is too large"


def test_the_expected_loss_is_a_cross_entropy_in_nats():
    rng = np.random.default_rng(0)
    samples, model = rng.dirichlet(np.ones(3), (4, 5)), rng.dirichlet(np.ones(3), 4)
    expected = [-(samples[i].mean(0) * np.log(model[i])).sum() for i in range(4)]
    np.testing.assert_allclose(expected_loss(jnp.log(samples), jnp.log(model)), expected, rtol=1e-5)
    certain = jnp.log(jnp.asarray([[[1.0, 0.0]]]))
    assert float(expected_loss(certain, certain[0])[0]) == 0, "0 log 0 is 0"


def test_what_cannot_be_is_named():
    for number in (0, 6):
        with pytest.raises(ValueError, match=f"number={number}: expected 1 to 5"):
            ask(jax.random.key(0), jnp.ones(5), number)
    for uniform in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"uniform={uniform}: expected a share above 0"):
            ask(jax.random.key(0), jnp.ones(5), 2, uniform)
    with pytest.raises(ValueError, match="size=2: expected at least 3"):
        lure(jnp.ones(3), jnp.ones(3), 2)
