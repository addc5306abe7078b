"""Shrink and perturb: lambda 0 and noise 1 is a fresh start, lambda 1 and noise 0 a warm one."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign
from al_jax.campaign import Settings
from al_jax.posteriors import ensemble, shrink_and_perturb
from al_jax.types import Data, Labelled

SETTINGS = Settings(
    seeds=2, initial_labels=6, batch_size=4, max_labels=14, num_samples=3, seed_block=2, warm_start=True
)


def ran(posterior, dataset, **options):
    return campaign.run(posterior, aq.random(), dataset, dataclasses.replace(SETTINGS, **options))


def test_shrinking_nothing_is_a_warm_start_bit_for_bit_and_the_first_round_is_as_ever(dataset):
    network = tiny("mc_dropout")
    warm, kept = ran(network, dataset), ran(shrink_and_perturb(network, 1.0, 0.0), dataset)
    jax.tree.map(np.testing.assert_array_equal, warm.state.posterior, kept.state.posterior)
    other = ran(shrink_and_perturb(network), dataset)
    first = other.rounds["round"] == 0
    np.testing.assert_array_equal(other.rounds["nll"][first], warm.rounds["nll"][first])
    assert not np.allclose(other.rounds["nll"][~first], warm.rounds["nll"][~first], rtol=1e-3)


def test_the_start_is_the_formula_and_with_shrink_0_forgets(dataset):
    x, y = dataset.inputs[:12], dataset.labels[:12]
    seen = {}
    base = tiny("point")
    watched = base._replace(fit=lambda key, state, data: (seen.setdefault("start", state), {}))
    labelled = Labelled(x, y, np.ones(12), np.arange(12), np.int32(12))
    data, key = Data(labelled, round=np.int32(2)), jax.random.key(3)
    last, fresh = base.init(jax.random.key(1), x), base.init(jax.random.fold_in(key, 1), x[:1])
    shrink_and_perturb(watched, 0.4, 0.2).fit(key, last, data)
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose(a, 0.4 * b + 0.2 * c, rtol=1e-5), seen["start"], last, fresh
    )
    starts = []
    for seed in (1, 2):
        seen.clear()
        shrink_and_perturb(watched, 0.0, 1.0).fit(key, base.init(jax.random.key(seed), x), data)
        starts.append(seen["start"])
    jax.tree.map(np.testing.assert_array_equal, *starts)
    jax.tree.map(np.testing.assert_allclose, starts[0], fresh)


def test_it_is_for_ensembles_too(dataset):
    done = ran(shrink_and_perturb(ensemble(tiny("point"), 2)), dataset)
    assert done.rounds["num_labelled"].max() == 14


@pytest.mark.parametrize("options", [{"shrink": 1.5}, {"noise": -0.1}])
def test_shares_are_shares(options):
    with pytest.raises(ValueError, match="expected a share, 0 to 1"):
        shrink_and_perturb(tiny("point"), **options)
