import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, deepfool
from al_jax.types import GaussianPredictions, Predictions, Round

N, C, D, H = 12, 4, 5, 7


def summary(acquisition, logits, x):
    def functions(x):
        log_p = jax.nn.log_softmax(logits(x))
        return Predictions(log_p[:, None], log_p)

    round = Round(jax.random.key(0), functions, None)
    return np.asarray(jax.jit(lambda x: acquisition.summarise(round, x, jnp.arange(N)))(x))


def linear(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(C, D)), rng.normal(size=C), rng.normal(size=(N, D)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_linear_network_it_is_the_margin_over_the_norm_of_the_difference_of_weights(seed):
    w, b, x = linear(seed)
    expected = []
    for row in x.astype(np.float64):
        f = w @ row + b
        c = f.argmax()
        expected.append(min(abs(f[k] - f[c]) / np.linalg.norm(w[k] - w[c]) for k in range(C) if k != c))
    weights = jnp.asarray(w, jnp.float32)
    found = summary(deepfool(), lambda x: jnp.matmul(x, weights.T, precision="highest") + b.astype(np.float32), x)
    np.testing.assert_allclose(found, -np.array(expected), rtol=1e-4)


def walk(forward, jacobian, x0, steps, overshoot):
    """DeepFool (2016, algorithm 2) of one row, as in its authors' code: |r|, or inf."""
    c, r = forward(x0).argmax(), np.zeros_like(x0)
    for _ in range(steps):
        at = x0 + (1 + overshoot) * r
        f, slopes = forward(at), jacobian(at)
        best, nearest = None, np.inf
        for k in range(C):
            if k != c:
                w = slopes[k] - slopes[c]
                distance = abs(f[k] - f[c]) / np.linalg.norm(w)
                if distance < nearest:
                    nearest, best = distance, distance * w / np.linalg.norm(w)
        r = r + best
        if forward(x0 + (1 + overshoot) * r).argmax() != c:
            return np.linalg.norm(r)
    return np.inf


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("seed", range(3))
def test_of_a_network_with_a_hidden_layer_it_is_that_of_the_loops(seed, steps):
    rng = np.random.default_rng(seed)
    a, w, x = 2 * rng.normal(size=(H, D)), rng.normal(size=(C, H)), rng.normal(size=(N, D)).astype(np.float32)

    def forward(x):
        return w @ np.tanh(a @ x)

    def jacobian(x):
        return w @ np.diag(1 - np.tanh(a @ x) ** 2) @ a

    expected = np.array([walk(forward, jacobian, row.astype(np.float64), steps, 0.02) for row in x])
    a32, w32 = jnp.asarray(a, jnp.float32), jnp.asarray(w, jnp.float32)

    def logits(x):
        return jnp.matmul(jnp.tanh(jnp.matmul(x, a32.T, precision="highest")), w32.T, precision="highest")

    found = -summary(deepfool(steps), logits, x)
    assert (np.isinf(found) == np.isinf(expected)).all()
    finite = np.isfinite(expected)
    assert finite.any()
    np.testing.assert_allclose(found[finite], expected[finite], rtol=2e-3)


def test_images_and_trees_of_arrays_are_rows_like_any_other():
    w, b, x = linear(0)
    weights, b = jnp.asarray(w.T, jnp.float32), b.astype(np.float32)
    plain = summary(deepfool(), lambda x: jnp.matmul(x, weights, precision="highest") + b, x)
    tree = {"a": x[:, :2].reshape(N, 1, 2), "b": x[:, 2:]}

    def logits(x):
        flat = jnp.concatenate([x["a"].reshape(-1, 2), x["b"]], axis=1)
        return jnp.matmul(flat, weights, precision="highest") + b

    np.testing.assert_allclose(summary(deepfool(), logits, tree), plain, rtol=1e-4)


def test_a_row_on_the_boundary_is_at_distance_zero():
    x = np.zeros((N, D), np.float32)
    assert (summary(deepfool(), lambda x: x[:, :C], x) == 0).all()


def test_rows_that_no_step_moves_to_another_class_come_last():
    found = summary(deepfool(), lambda x: jnp.broadcast_to(jnp.arange(C, dtype=jnp.float32), (N, C)), np.ones((N, D)))
    assert (found == -np.inf).all()
    one_class = summary(deepfool(), lambda x: x[:, :1], np.ones((N, D), np.float32))
    assert (one_class == -np.inf).all()


def test_rows_do_not_depend_on_their_neighbours():
    w, _, x = linear(3)
    weights = jnp.asarray(w.T, jnp.float32)

    def logits(x):
        return jnp.sin(jnp.matmul(x, weights, precision="highest")) * 3

    together = summary(deepfool(), logits, x)
    alone = np.concatenate([summary(deepfool(), logits, np.repeat(x[i : i + 1], N, 0))[:1] for i in range(4)])
    np.testing.assert_allclose(together[:4], alone, rtol=1e-4)


def test_what_cannot_be_moved_is_named():
    with pytest.raises(ValueError, match=r"uint8.*x / 255"):
        summary(deepfool(), lambda x: x.astype(jnp.float32), np.zeros((N, D), np.uint8))
    with pytest.raises(ValueError, match="point"):
        acquire(deepfool(), np.log(np.full((5, 2, 2), 0.5)), 2)
    regression = Round(None, lambda x: GaussianPredictions(x, x, x[:, 0], x[:, 0]), None)
    with pytest.raises(ValueError, match="classes"):
        deepfool().summarise(regression, jnp.zeros((N, D)), jnp.arange(N))
    with pytest.raises(ValueError, match="steps=0"):
        deepfool(0)
    with pytest.raises(ValueError, match="overshoot=-1"):
        deepfool(overshoot=-1.0)
