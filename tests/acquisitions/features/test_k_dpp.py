"""The k-DPP draws subsets in proportion to their determinants: all subsets are enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import pool, probabilities, take
from scipy import stats

from al_jax.acquisitions import entropy, k_dpp
from al_jax.acquisitions.toolbox.k_dpp import sample_k_dpp

KEYS = jax.random.split(jax.random.key(0), 6000)


def frequencies(kernel, size):
    """How often each subset is drawn, and its probability."""
    everyone = jnp.ones(len(kernel), bool)
    drawn = np.sort(jax.jit(jax.vmap(lambda key: sample_k_dpp(key, jnp.asarray(kernel), everyone, size)))(KEYS), axis=1)
    subsets = list(itertools.combinations(range(len(kernel)), size))
    likely = np.array([np.linalg.det(np.asarray(kernel, float)[np.ix_(s, s)]) for s in subsets])
    counts = np.array([(drawn == np.array(s)).all(1).sum() for s in subsets])
    return counts, likely / likely.sum()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_are_drawn_in_proportion_to_their_determinants(seed, size):
    rows = np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32)
    counts, likely = frequencies(rows @ rows.T, size)
    assert counts.sum() == len(KEYS), "distinct rows"
    enough = likely * len(KEYS) > 5
    pooled = np.append(counts[enough], counts[~enough].sum()), np.append(likely[enough], likely[~enough].sum())
    keep = pooled[1] > 0
    assert stats.chisquare(pooled[0][keep], pooled[1][keep] * len(KEYS)).pvalue > 1e-3


def test_equal_rows_are_not_drawn_together():
    kernel = np.diag(np.arange(1.0, 5.0)).astype(np.float32)
    kernel[0, 0] = kernel[1, 1] = kernel[0, 1] = kernel[1, 0] = 2.0
    counts, likely = frequencies(kernel, 2)
    assert likely[0] == pytest.approx(0, abs=1e-6)
    assert counts[0] <= 3


def test_quality_and_diversity_of_rows():
    """Pairs of a pool of seven, by entropy^2 and cosine."""
    p = pool(3, rows=7)
    p = p._replace(available=np.arange(7) != 1)
    mean = probabilities(p.log_probs)
    quality = np.where(p.available, (-(mean * np.log(mean)).sum(1)) ** 2, 0)
    unit = p.features / np.linalg.norm(p.features, axis=1, keepdims=True)
    kernel = quality[:, None] * (unit @ unit.T + 1e-3 * np.eye(7)) * quality[None]
    pairs = list(itertools.combinations([0, 2, 3, 4, 5, 6], 2))
    likely = np.array([np.linalg.det(kernel[np.ix_(s, s)]) for s in pairs])
    likely /= likely.sum()
    drawn = [tuple(sorted(take(k_dpp(entropy, 2.0), p, 2, seed).indices.tolist())) for seed in range(1000)]
    counts = np.array([drawn.count(pair) for pair in pairs])
    assert counts.sum() == 1000, "available ones alone"
    enough = likely * 1000 > 5
    observed = np.append(counts[enough], counts[~enough].sum())
    expected = np.append(likely[enough], likely[~enough].sum()) * 1000
    assert stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_only_the_best_rows_are_offered():
    p = pool(1)._replace(available=np.ones(30, bool))
    mean = probabilities(p.log_probs)
    top = np.argsort((mean * np.log(mean)).sum(1))[:5]
    assert set(take(k_dpp(entropy, m=5), p, 5).indices.tolist()) == set(top.tolist())


@pytest.mark.parametrize(("options", "match"), [({"power": -1.0}, "power=-1.0"), ({"m": 0}, "m=0")])
def test_arguments_out_of_range_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        k_dpp(**options)
    with pytest.raises(ValueError, match="m=2: expected at least batch_size=3"):
        take(k_dpp(m=2), pool(0), 3)
