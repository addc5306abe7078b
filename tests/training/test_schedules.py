"""Schedules are functions of the share of a fit that is done: closed forms, whatever the number of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import blobs

from al_jax import vocabulary
from al_jax.likelihood import categorical
from al_jax.training import Apply, Training, adam, adamw, cosine, drops, linear, sgd, train
from al_jax.types import Data, Labelled

SHARES = np.linspace(0, 0.999, 50).astype(np.float32)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (cosine(2.0), lambda f: 1 + np.cos(np.pi * f)),
        (cosine(2.0, end=1.0), lambda f: 1 + 0.5 * (1 + np.cos(np.pi * f))),
        (linear(3.0, 1.0), lambda f: 3 - 2 * f),
        (linear(3.0, warmup=0.25), lambda f: np.where(f < 0.25, 12 * f, 3 - 4 * (f - 0.25))),
        (drops(1.0), lambda f: np.where(f < 0.5, 1.0, np.where(f < 0.75, 0.1, 0.01))),
        (drops(1.0, (0.2,), 0.5), lambda f: np.where(f < 0.2, 1.0, 0.5)),
    ],
)
def test_the_rate_is_the_closed_form(schedule, expected):
    np.testing.assert_allclose(jax.vmap(schedule)(SHARES), expected(SHARES), rtol=1e-5, atol=1e-6)


def fitted(optimizer: optax.GradientTransformation, count: int, **budget: int) -> np.ndarray:
    """The weights of a linear least-squares fit to `count` of 24 rows."""
    x, _ = blobs(0, 24)
    labels = x @ np.array([1.0, -2.0], np.float32)
    data = Data(Labelled(x, labels, np.ones(24), np.arange(24), jnp.asarray(count)), None, None)

    squares = categorical()._replace(loss=lambda outputs, labels: jnp.square(outputs[:, 0] - labels))
    apply = Apply(lambda weights, key, inputs: inputs @ weights[:, None], squares)

    settings = Training(optimizer, minibatch_size=8, **budget)
    return np.asarray(train(jax.random.key(0), jnp.zeros(2), data, settings, apply, lambda *_: {})[0])


@pytest.mark.parametrize("count", [8, 24])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adam(cosine(0.1)), lambda rate: optax.adam(rate)),
        (adamw(cosine(0.1), 0.3), lambda rate: optax.adamw(rate, weight_decay=0.3)),
        (sgd(cosine(0.1), 0.9, True), lambda rate: optax.sgd(rate, 0.9, True)),
    ],
)
def test_a_schedule_follows_the_budget_in_epochs_as_optax_s_would_if_it_knew_the_steps(ours, theirs, count):
    steps = 4 * count // 8
    expected = fitted(theirs(optax.cosine_decay_schedule(0.1, steps)), count, epochs=4)
    np.testing.assert_allclose(fitted(ours, count, epochs=4), expected, rtol=1e-5)
    np.testing.assert_allclose(
        fitted(ours, count, steps=steps),
        fitted(theirs(optax.cosine_decay_schedule(0.1, steps)), count, steps=steps),
        rtol=1e-5,
    )


def test_expressions_have_schedules():
    training = vocabulary.expression("training", "adam(cosine(1e-3, warmup=0.1)), epochs=5").make({})
    assert training.optimizer is adam(cosine(1e-3, warmup=0.1)), "equal texts give the same object"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cosine(0.0), r"peak=0\.0: expected a positive, finite learning rate"),
        (lambda: linear(1.0, -1.0), r"end=-1\.0: expected a finite learning rate, 0 or more"),
        (lambda: cosine(1.0, warmup=1.0), r"warmup=1\.0: expected a share of the fit"),
        (lambda: drops(1.0, (0.5, 1.0)), r"at=\(0\.5, 1\.0\): expected shares of the fit"),
        (lambda: drops(1.0, factor=0.0), r"factor=0\.0: expected a positive"),
    ],
)
def test_what_is_no_schedule_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
