import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import last_layer

from al_jax.acquisitions import acquire, egl
from al_jax.types import Predictions, Round

N, C, D = 9, 5, 3
ALL = np.ones(N, bool)


def by_gradients(log_probs, features, bias):
    """sum_c p_c |grad of -log softmax(W h + b)_c|, by differentiating the loss of a last layer that predicts p."""
    found = []
    with jax.enable_x64(True):
        for i in range(N):
            p = np.exp(log_probs[i]).mean(0)
            weights = jnp.asarray(np.random.default_rng(i).normal(size=(C, D)))
            h = jnp.asarray(features[i])
            b = jnp.log(jnp.asarray(p)) - weights @ h
            expected = 0.0
            for c in range(C):
                gradients = jax.grad(lambda w, b: -jax.nn.log_softmax(w @ h + b)[c], (0, 1))(weights, b)  # noqa: B023
                squares = (gradients[0] ** 2).sum() + ((gradients[1] ** 2).sum() if bias else 0.0)
                expected += p[c] * float(jnp.sqrt(squares))
            found.append(expected)
    return np.array(found)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("seed", "sharpness"), [(0, 1.0), (1, 3.0), (2, 8.0)])
def test_it_is_the_expected_norm_of_the_last_layers_gradient(seed, sharpness, bias):
    log_probs, features = last_layer(seed, sharpness)
    expected = by_gradients(log_probs, features, bias)
    acquired = acquire(egl(bias), log_probs, N, ALL, features)
    np.testing.assert_allclose(acquired.scores, expected[np.asarray(acquired.indices)], rtol=2e-5)
    assert acquired.indices.tolist() == np.argsort(-expected).tolist()


def test_nearly_certain_predictions_keep_their_digits():
    p = np.array([1e-6, 1e-9, 1e-12])
    log_probs = np.stack([np.log1p(-p), np.log(p)], -1)[:, None]
    acquired = acquire(egl(), log_probs, 3, None, np.ones((3, 1)))
    np.testing.assert_allclose(acquired.scores, 2 * np.sqrt(2) * p * (1 - p), rtol=1e-5)


def test_certain_rows_and_rows_without_features_score_zero():
    log_probs, features = last_layer(0)
    log_probs[0], features[1] = np.where(np.arange(C) == 2, 0.0, -np.inf), 0.0
    acquired = acquire(egl(), log_probs, N, ALL, features)
    assert (np.asarray(acquired.scores)[np.isin(acquired.indices, [0, 1])] == 0).all()


def test_missing_features_are_named():
    with pytest.raises(ValueError, match="features"):
        acquire(egl(), last_layer(0)[0], 2)
    log_probs = jnp.zeros((2, 1, 1))
    round = Round(jax.random.key(0), lambda x: Predictions(log_probs, log_probs[:, 0]), None)
    with pytest.raises(ValueError, match="egl needs `features`"):
        egl().summarise(round, jnp.zeros((2, 1)), jnp.arange(2))
