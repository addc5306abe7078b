import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax.acquisitions import bald, core_set, prefilter, subset
from al_jax.pool import candidates
from al_jax.types import GaussianPredictions, Predictions, Round

N, M = 12, 4
AVAILABLE = jnp.arange(N) % 3 > 0
KEYS = jax.random.split(jax.random.key(0), 3000)
X = jnp.arange(N, dtype=jnp.float32)[:, None]


def functions(x):
    log_probs = jax.nn.log_softmax(jnp.concatenate([x, -x], axis=1))[:, None]
    return Predictions(log_probs, log_probs[:, 0], x)


def offered(key, acquisition, available=AVAILABLE, functions=functions):
    return candidates(key, acquisition, Round(key, functions, None), X, available, chunk_size=5)


def test_m_available_rows_are_summarised_each_as_often_as_any_other():
    rows = np.asarray(jax.jit(jax.vmap(lambda key: offered(key, subset(core_set(), M)).rows))(KEYS))
    assert rows.shape == (len(KEYS), M)
    assert all(len(set(row)) == M for row in rows.tolist())
    counts = np.bincount(rows.reshape(-1), minlength=N)
    assert counts[~np.asarray(AVAILABLE)].sum() == 0
    assert stats.chisquare(counts[np.asarray(AVAILABLE)]).pvalue > 1e-3
    pairs = np.mean((rows == 1).any(1) & (rows == 2).any(1))  # without replacement
    assert abs(pairs - M * (M - 1) / (8 * 7)) < 0.03


def test_few_available_rows_are_all_offered():
    some = jnp.isin(jnp.arange(N), jnp.array([2, 7]))
    found = offered(KEYS[0], subset(bald, M), some)
    assert set(found.rows[found.available].tolist()) == {2, 7}


def test_the_network_sees_only_the_subset():
    calls = []

    def predicted(x):
        calls.append(len(x))
        return np.log(np.full((len(x), 1, 2), 0.5, np.float32))

    def callback(x):
        log_probs = jax.pure_callback(predicted, jax.ShapeDtypeStruct((len(x), 1, 2), jnp.float32), x)
        return Predictions(log_probs, log_probs[:, 0], x)

    jax.block_until_ready(jax.jit(lambda key: offered(key, subset(bald, M), functions=callback).summary)(KEYS[0]))
    assert sum(calls) <= 5  # one chunk


def test_of_a_regression_too():
    def regression(x):
        return GaussianPredictions(x * jnp.ones(3), jnp.ones((len(x), 3)), x[:, 0], jnp.ones(len(x)))

    assert len(offered(KEYS[0], subset(bald, M), functions=regression).rows) == M


def test_a_second_shortlist_and_no_rows_are_refused():
    with pytest.raises(ValueError, match=r"restricted to 5 rows.*pool_subset"):
        subset(prefilter(bald, 5, core_set()), 3)
    with pytest.raises(ValueError, match="m=0"):
        subset(bald, 0)
