"""optax's optimisers by name, for expressions: equal arguments give the same object, and wrong ones are named.

A learning rate may be a number or a schedule, as in `adam(cosine(1e-3))`.
"""

import math
from collections.abc import Callable

import optax

from al_jax.memo import memoised
from al_jax.sweep import known
from al_jax.training.schedules import Schedule, by_fraction


@memoised
def adam(learning_rate: float | Schedule = 1e-3, b1: float = 0.9, b2: float = 0.999) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015), `optax.adam`. ValueError unless learning_rate > 0 and b1, b2 in [0, 1)."""
    _check(learning_rate, b1=b1, b2=b2)
    return _scheduled(learning_rate, lambda rate: optax.adam(rate, b1, b2))


@memoised
def adamw(learning_rate: float | Schedule = 1e-3, weight_decay: float = 1e-4) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), `optax.adamw`. ValueError as of `adam`."""
    _check(learning_rate)
    if known(weight_decay) and not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay={weight_decay}: expected a finite number, 0 or more")
    return _scheduled(learning_rate, lambda rate: optax.adamw(rate, weight_decay=weight_decay))


@memoised
def sgd(
    learning_rate: float | Schedule = 0.1, momentum: float = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013), `optax.sgd`. ValueError as of `adam`."""
    _check(learning_rate, momentum=momentum)
    return _scheduled(learning_rate, lambda rate: optax.sgd(rate, momentum, nesterov))


def _scheduled(
    rate: float | Schedule, optimiser: Callable[[float], optax.GradientTransformation]
) -> optax.GradientTransformation:
    """The optimiser of this rate: its last step multiplies by it."""
    return optax.chain(optimiser(1.0), by_fraction(rate)) if callable(rate) else optimiser(rate)


def _check(learning_rate: float | Schedule, **shares: float) -> None:
    if not callable(learning_rate) and known(learning_rate) and not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate={learning_rate}: expected a positive, finite number")
    for name, value in shares.items():
        if known(value) and not 0 <= value < 1:
            raise ValueError(f"{name}={value}: expected 0 or more and less than 1")
