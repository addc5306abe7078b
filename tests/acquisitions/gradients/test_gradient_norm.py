import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import last_layer

from al_jax.acquisitions import acquire, gradient_norm

N, C, D = 9, 5, 3
ALL = np.ones(N, bool)


def expected_loss(z):
    """sum_c p_c CE(z, c), each cross-entropy for itself."""
    return sum(jax.nn.softmax(z)[c] * -jax.nn.log_softmax(z)[c] for c in range(C))


def entropy_loss(z):
    p = jnp.exp(z - jax.nn.logsumexp(z))
    return -jnp.sum(p * jnp.log(p))


def by_gradients(loss, log_probs, features, bias):
    found = []
    with jax.enable_x64(True):
        for i in range(N):
            weights, h = jnp.asarray(np.random.default_rng(i).normal(size=(C, D))), jnp.asarray(features[i])
            b = jnp.log(jnp.asarray(np.exp(log_probs[i]).mean(0))) - weights @ h
            gradients = jax.grad(lambda w, b: loss(w @ h + b), (0, 1))(weights, b)  # noqa: B023
            found.append(float(jnp.sqrt((gradients[0] ** 2).sum() + bias * (gradients[1] ** 2).sum())))
    return np.array(found)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "loss"), [("expected", expected_loss), ("entropy", entropy_loss)])
@pytest.mark.parametrize(("seed", "sharpness"), [(0, 1.0), (1, 4.0)])
def test_it_is_the_norm_of_the_last_layers_gradient(seed, sharpness, kind, loss, bias):
    log_probs, features = last_layer(seed, sharpness)
    expected = by_gradients(loss, log_probs, features, bias)
    acquired = acquire(gradient_norm(kind, bias), log_probs, N, ALL, features)
    np.testing.assert_allclose(acquired.scores, expected[np.asarray(acquired.indices)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("p", [[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
def test_where_the_entropy_is_flat_it_is_zero(p):
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array(p))[None, None]
    acquired = acquire(gradient_norm("entropy"), log_probs, 1, None, np.ones((1, 2)))
    np.testing.assert_allclose(acquired.scores, 0.0, atol=1e-6)


def test_another_kind_and_missing_features_are_refused():
    with pytest.raises(ValueError, match="kind='loss'"):
        gradient_norm("loss")
    with pytest.raises(ValueError, match="features"):
        acquire(gradient_norm(), last_layer(0)[0], 2)
