"""Frank-Wolfe coresets against the algorithm in float64, and what every approximation of a sum must obey."""

import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import pool, take

from al_jax.acquisitions import acs_fw
from al_jax.acquisitions.draws.acs_fw import expected_log_likelihoods
from al_jax.acquisitions.toolbox.frank_wolfe import frank_wolfe


def by_loops(rows, available, wanted, most_steps):
    """Rows in the order they first got weight, and |residual| after every step."""
    lengths = np.where(available, np.linalg.norm(rows, axis=1), 0)
    whole, weights, order, errors = rows[available].sum(0), np.zeros(len(rows)), [], []
    for _ in range(most_steps):
        approximation = weights @ rows
        residual = whole - approximation
        along = [residual @ rows[n] / lengths[n] if lengths[n] > 0 else -np.inf for n in range(len(rows))]
        row = int(np.argmax(along))
        direction = lengths.sum() / lengths[row] * rows[row] - approximation
        share = np.clip(direction @ residual / (direction @ direction), 0, 1)
        weights = (1 - share) * weights
        weights[row] += share * lengths.sum() / lengths[row]
        errors.append(np.linalg.norm(whole - weights @ rows))
        if row not in order:
            order.append(row)
        if len(order) == wanted:
            break
    return order, errors


@pytest.mark.parametrize("seed", range(5))
def test_expected_log_likelihoods_are_sums_over_labels(seed):
    p = pool(seed)
    mean = np.exp(p.log_probs).mean(1)
    expected = [
        [sum(mean[n, c] * p.log_probs[n, k, c] for c in range(3)) - (mean[n] * np.log(mean[n])).sum() for k in range(4)]
        for n in range(len(mean))
    ]
    table = jnp.asarray(p.log_probs, jnp.float32)
    np.testing.assert_allclose(expected_log_likelihoods(table), expected, atol=1e-5)
    centred = np.array(expected) - np.mean(expected, 1, keepdims=True)
    np.testing.assert_allclose(expected_log_likelihoods(table, centre=True), centred, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stop_early", [False, True])
def test_the_batch_is_frank_wolfe_s(seed, stop_early):
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(4), (25, 12)))
    available = rng.random(25) < 0.8
    p = pool(seed)._replace(log_probs=log_probs, available=available, features=None)
    p = p._replace(labelled_features=None, labelled_log_probs=None)
    rows = np.asarray(expected_log_likelihoods(jnp.asarray(log_probs, jnp.float32)), float)
    order, errors = by_loops(rows, available, 5, 5 if stop_early else 100)
    found = take(acs_fw(stop_early=stop_early), p, 5)
    assert found.indices[: len(order)].tolist() == order
    assert available[found.indices].all()
    assert (np.diff(errors) <= 1e-9).all(), "the residual never grows"
    assert found.scores[0] == pytest.approx(-errors[0], rel=1e-3)
    assert (found.scores[len(order) :] == np.float32(-1e30)).all(), "the rest is random"


def test_with_all_rows_the_sum_is_met():
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.normal(size=(8, 20)), jnp.float32)
    walk = frank_wolfe(rows, jnp.ones(8, bool), 9, 20_000)
    whole = rows.sum(0)
    assert float(jnp.linalg.norm(whole - walk.sum)) < 0.02 * float(jnp.linalg.norm(whole))
    assert int(walk.distinct) == 8


def test_a_pool_of_one_repeated_row_stops_with_the_key_s_choice_for_the_rest():
    p = pool(0)
    p = p._replace(log_probs=np.repeat(p.log_probs[:1], 30, 0), available=np.ones(30, bool))
    batches = [tuple(take(acs_fw(), p, 6, seed).indices.tolist()) for seed in range(4)]
    assert all(len(set(batch)) == 6 for batch in batches)
    assert len(set(batches)) == 4
