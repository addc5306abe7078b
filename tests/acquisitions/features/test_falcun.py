import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from al_jax.acquisitions import acquire, falcun, prefilter
from al_jax.acquisitions.scores import bald
from al_jax.types import Round

N, C = 6, 3
KEYS = jax.random.split(jax.random.key(0), 5000)
ROUND = Round(KEYS[0], None, None)


def orders(acquisition, p, available, batch_size):
    table, available = jnp.asarray(p, jnp.float32), jnp.asarray(available)
    return jax.jit(jax.vmap(lambda key: acquisition.select(key, ROUND, table, available, batch_size)))(KEYS)


def uncertainty(row):
    first, second = sorted(row)[::-1][:2]
    return 1 - (first - second)


def relevances(p, left, picked):
    """u + d of the rows that are left, once these were picked."""
    u = [uncertainty(row) for row in p]
    d = list(u)
    for q in picked:
        d = [min(d[i], sum(abs(p[i] - p[q]))) for i in range(N)]
    low, high = min(d[i] for i in left), max(d[i] for i in left)
    return np.array([u[i] + ((d[i] - low) / (high - low) if high > low else 0.0) for i in left])


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_rows_are_drawn_in_proportion_to_the_power_of_uncertainty_and_diversity(seed, power):
    rng = np.random.default_rng(seed)
    p, available = rng.dirichlet(np.ones(C), N), np.arange(N) != 2
    free = np.flatnonzero(available).tolist()
    drawn = orders(falcun(power), p, available, 3)
    triples, probabilities = list(itertools.permutations(free, 3)), []
    for triple in triples:
        chance = 1.0
        for step, row in enumerate(triple):
            left = [i for i in free if i not in triple[:step]]
            weights = relevances(p, left, triple[:step]) ** power
            chance *= weights[left.index(row)] / weights.sum()
        probabilities.append(chance)
    counts = np.array([np.sum((np.asarray(drawn.indices) == triple).all(1)) for triple in triples])
    expected = np.array(probabilities) * len(KEYS)
    rare = expected < 5
    assert stats.chisquare(
        np.append(counts[~rare], counts[rare].sum() + 1e-9), np.append(expected[~rare], expected[rare].sum() + 1e-9)
    ).pvalue > (1e-3)
    for indices, scores in zip(np.asarray(drawn.indices)[:20], np.asarray(drawn.scores)[:20], strict=True):
        for step in range(3):
            left = [i for i in free if i not in indices[:step]]
            np.testing.assert_allclose(
                scores[step], relevances(p, left, indices[:step])[left.index(indices[step])], atol=1e-5
            )


@pytest.mark.parametrize("p", [np.eye(C)[[0] * N], np.eye(C)[[0, 1, 2, 0, 1, 2]], np.ones((N, 1))])
def test_where_nothing_is_uncertain_all_rows_are_equally_likely(p):
    available = np.arange(N) != 4
    first = np.asarray(orders(falcun(), p, available, 2).indices)[:, 0]
    counts = np.bincount(first, minlength=N)
    assert counts[4] == 0
    assert stats.chisquare(counts[available]).pvalue > 1e-3


def test_a_large_power_takes_the_most_relevant_row_and_never_a_row_twice():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(C), N)
    picks = np.asarray(orders(falcun(5000.0), p, np.ones(N, bool), N).indices)
    picked, left = [], list(range(N))
    for _ in range(2):
        picked.append(left[int(relevances(p, left, picked).argmax())])
        left.remove(picked[-1])
    assert (picks[:, :2] == picked).mean() > 0.99
    assert (np.sort(picks, axis=1) == np.arange(N)).all()


def test_it_works_on_arrays_of_draws_and_after_a_prefilter():
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(C), (N, 4)))
    best = np.argsort(-np.asarray(bald(jnp.asarray(log_probs, jnp.float32))))[:3]
    acquired = acquire(prefilter(bald, 3, falcun()), log_probs, 3)
    assert set(acquired.indices.tolist()) == set(best.tolist())
    assert np.isfinite(acquired.scores).all()


@pytest.mark.parametrize("power", [-1.0, float("inf")])
def test_other_powers_are_refused(power):
    with pytest.raises(ValueError, match="power="):
        falcun(power)
