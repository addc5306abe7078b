"""Deep probabilistic ensembles: the paper's divergence, its gradient by finite differences, and what it does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TRAINING, blobs

from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import dpe, ensemble, point
from al_jax.posteriors.dpe import SMALLEST, divergence
from al_jax.posteriors.ensemble import AXIS
from al_jax.training import Training, adam
from al_jax.types import Data, Labelled

KEY, MODULE = jax.random.key(0), MLP(3, (4,), 0.0)
X, Y = blobs(0, 24)
DATA = Data(Labelled(X, Y, jnp.ones(24), jnp.arange(24), jnp.asarray(24)))


def fitted(posterior):
    return jax.jit(lambda: posterior.fit(KEY, posterior.init(KEY, X), DATA))()


def by_loops(leaves: list[np.ndarray]) -> float:
    """KL(N(m, s^2) || N(0, 2 / fan-in)) summed over the weights of kernels, in float64."""
    total = 0.0
    for leaf in leaves:  # [members, inputs, outputs]
        if leaf.ndim < 3:
            continue
        prior = np.sqrt(2 / leaf.shape[1])
        for weights in leaf.reshape(len(leaf), -1).T:
            m, s = weights.mean(), np.sqrt(weights.var() + SMALLEST)
            total += np.log(prior / s) + (s**2 + m**2) / (2 * prior**2) - 0.5
    return total


def test_the_divergence_is_that_of_gaussians_across_members():
    rng = np.random.default_rng(0)
    params = {
        "a": {"kernel": rng.normal(size=(5, 3, 2)), "bias": rng.normal(size=(5, 2))},
        "b": rng.normal(size=(5, 2, 4)),
    }
    found = jax.vmap(divergence, axis_name=AXIS)(jax.tree.map(jnp.asarray, params))
    assert np.ptp(found) == 0
    assert float(found[0]) == pytest.approx(by_loops([params["a"]["kernel"], params["b"]]), rel=1e-4)


def test_a_step_follows_the_gradient_of_mean_loss_and_divergence():
    """One step of gradient descent on all rows, against central differences of the divergence in float64."""
    members, strength = 3, 0.1
    step = Training(optax.sgd(1.0), minibatch_size=24, steps=1)
    start = jax.vmap(lambda key: point(MODULE, categorical(), step).init(key, X))(jax.random.split(KEY, members))
    made = (dpe(MODULE, categorical(), step, members=members, strength=s) for s in (strength, 0.0))
    with_it, without = (fitted(posterior)[0] for posterior in made)
    moved = jax.tree.map(lambda a, b: np.asarray(b - a, np.float64), with_it, without)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(start)]
    for number, leaf in enumerate(leaves):
        if leaf.ndim < 3:
            np.testing.assert_array_equal(jax.tree.leaves(moved)[number], 0)
            continue
        for place in [(0, 0, 1), (2, 1, 0)]:
            sides = []
            for sign in (1, -1):
                changed = [other.copy() for other in leaves]
                changed[number][place] += sign * 1e-5
                sides.append(by_loops(changed))
            slope = strength * (sides[0] - sides[1]) / 2e-5
            # Of the mean over members a member's own loss is one part in `members`.
            assert jax.tree.leaves(moved)[number][place] == pytest.approx(members * slope, rel=1e-3, abs=1e-6)


def test_strength_zero_is_the_ensemble_to_the_bit():
    one = fitted(dpe(MODULE, categorical(), TRAINING, members=3, strength=0.0))[0]
    other = fitted(ensemble(point(MODULE, categorical(), TRAINING), 3))[0]
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_strong_divergence_brings_the_members_to_the_prior():
    training = Training(adam(1e-2), minibatch_size=24, steps=1500)
    state, info = fitted(dpe(MODULE, categorical(), training, members=4, strength=10.0))
    for leaf in jax.tree.leaves(state):
        if leaf.ndim == 3:
            kernels = np.asarray(leaf)
            assert np.abs(kernels.mean(0)).max() < 0.05
            np.testing.assert_allclose(kernels.std(0), np.sqrt(2 / leaf.shape[1]), rtol=0.05)
    assert info["finite"]


def test_a_penalty_of_the_user_stays():
    def far(params, count):
        return 1e3 * sum(jnp.square(leaf - 0.5).sum() for leaf in jax.tree.leaves(params))

    training = Training(adam(1e-2), minibatch_size=24, steps=500)
    held = dataclasses.replace(training, penalty=far)
    state, _ = fitted(dpe(MODULE, categorical(), held, members=2, strength=1e-5))
    np.testing.assert_allclose(jax.tree.leaves(state)[0], 0.5, atol=0.05)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="members=1: expected at least 2"):
        dpe(MODULE, categorical(), TRAINING, members=1)
    with pytest.raises(ValueError, match=r"strength=-0.1: expected 0 or more"):
        dpe(MODULE, categorical(), TRAINING, strength=-0.1)
