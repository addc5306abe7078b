"""DropQuery against all masks of dropout, written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import campaign
from al_jax.acquisitions import acquire, drop_query
from al_jax.acquisitions.features.drop_query import changes
from al_jax.campaign import Settings
from al_jax.data import two_moons
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import mc_dropout
from al_jax.training import Training, adam
from al_jax.types import Round

N, D, C = 6, 4, 3
RNG = np.random.default_rng(0)
FEATURES = np.abs(RNG.normal(size=(N, D))).astype(np.float32)
WEIGHTS = RNG.normal(size=(D, C)).astype(np.float32)
POINT = jnp.asarray(FEATURES @ WEIGHTS)


def head(features):
    return jnp.matmul(features, WEIGHTS, precision="highest")


def chance_of_change(features, rate):
    """Over all 2^D masks, weighted by their probability; the division by 1 - rate changes no class without a bias."""
    total, before = 0.0, (features @ WEIGHTS).argmax()
    for mask in itertools.product([0, 1], repeat=D):
        after = ((features * np.array(mask)) @ WEIGHTS).argmax()
        total += (after != before) * np.prod([1 - rate if kept else rate for kept in mask])
    return total


@pytest.mark.parametrize(("passes", "rate"), [(1, 0.75), (3, 0.75), (4, 0.25)])
def test_a_class_changes_as_often_as_over_all_masks(passes, rate):
    keys = jax.random.split(jax.random.key(1), 4000)

    def counted(key):
        return changes(key, head, jnp.asarray(FEATURES), POINT, jnp.arange(N), passes, rate)

    found = np.asarray(jax.vmap(counted)(keys)).mean(0)
    expected = np.array([passes * chance_of_change(row, rate) for row in FEATURES])
    sigma = np.sqrt(passes * 0.25 / len(keys))
    assert np.abs(found - expected).max() < 4.5 * sigma


def chosen(changed, available, batch_size, passes=3):
    summary = jnp.asarray(FEATURES), jnp.asarray(changed)
    method = drop_query(passes)
    return method.select(jax.random.key(2), Round(jax.random.key(0), None, None), summary, available, batch_size)


def test_rows_of_most_passes_are_clustered_then_of_fewer():
    every = jnp.ones(N, bool)
    strict = chosen([3, 2, 1, 0, 0, 1], every, 2)
    assert int(strict.info["candidates"]) == 2
    assert set(strict.indices.tolist()) == {0, 1}
    wider = chosen([3, 2, 1, 0, 0, 1], every, 3)
    assert int(wider.info["candidates"]) == 4
    assert set(wider.indices.tolist()) <= {0, 1, 2, 5}
    assert int(chosen([3, 2, 1, 0, 0, 1], every, 5).info["candidates"]) == N
    some = every.at[0].set(False)
    assert set(chosen([3, 2, 1, 0, 0, 1], some, 3).indices.tolist()) == {1, 2, 5}


def test_a_campaign_gives_it_the_last_layer_and_acquire_says_that_it_cannot():
    dataset = two_moons(100, 50)
    settings = Settings(seeds=2, initial_labels=4, max_labels=8, batch_size=2, num_samples=4)
    posterior = mc_dropout(MLP(2, hidden=(8,)), categorical(), Training(adam(1e-2), steps=20))
    assert len(campaign.run(posterior, drop_query(), dataset, settings).rounds) == 2 * 3
    with pytest.raises(ValueError, match=r"a posterior with a `head`.*acquire\(\) has none"):
        acquire(drop_query(), np.log(np.full((N, 1, 2), 0.5)), 1, features=FEATURES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: drop_query(0), "passes=0: expected at least 1"),
        (lambda: drop_query(rate=1.0), r"rate=1\.0: expected a share"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
