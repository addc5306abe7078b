"""Learning rates that change within a fit, as functions of the share of it that is done.

So one schedule suits every round: a budget in epochs has more steps with more labels. Optax's schedules, which count
steps, are given to optax's optimisers as always.
"""

import math
from typing import Protocol

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.sweep import known


class Schedule(Protocol):
    """The share of a fit's steps that are done, in [0, 1), -> the learning rate of the next one."""

    def __call__(self, fraction: Float[Array, ""], /) -> Float[Array, ""]:
        """The learning rate."""


@memoised
def cosine(peak: float, end: float = 0.0, warmup: float = 0.0) -> Schedule:
    """From `peak` to `end` along half a cosine (Loshchilov & Hutter 2017, SGDR, without restarts).

    In the first `warmup` of the fit, a share of its steps, it rises in a line from 0. ValueError unless peak > 0,
    end >= 0, both finite, and warmup is in [0, 1).
    """
    _check(peak, end, warmup)
    return _warmed(lambda done: end + (peak - end) * 0.5 * (1 + jnp.cos(jnp.pi * done)), peak, warmup)


@memoised
def linear(peak: float, end: float = 0.0, warmup: float = 0.0) -> Schedule:
    """From `peak` to `end` in a line; `warmup` and errors as of `cosine`."""
    _check(peak, end, warmup)
    return _warmed(lambda done: peak + (end - peak) * done, peak, warmup)


@memoised
def drops(peak: float, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> Schedule:
    """`peak`, times `factor` at each of the shares `at` (He et al. 2016 divide by 10 at 1/2 and 3/4).

    ValueError unless peak and factor are positive and finite, and `at` are shares in (0, 1).
    """
    _check(peak, 0.0, 0.0)
    if known(factor) and not 0 < factor < math.inf:
        raise ValueError(f"factor={factor}: expected a positive, finite number")
    if not all(0 < share < 1 for share in at):
        raise ValueError(f"at={at}: expected shares of the fit, above 0 and below 1")

    def rate(fraction: Float[Array, ""]) -> Float[Array, ""]:
        return peak * jnp.power(factor, sum(jnp.where(fraction >= share, 1.0, 0.0) for share in at))

    return rate


def by_fraction(schedule: Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply updates by `schedule(fraction)`; the training loop gives the fraction of its steps that are done."""

    def update(updates, state, params=None, *, fraction, **_):  # type: ignore[no-untyped-def]
        rate = schedule(fraction)
        return optax.tree.scale(rate, updates), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def _warmed(after: Schedule, peak: float, warmup: float) -> Schedule:
    def rate(fraction: Float[Array, ""]) -> Float[Array, ""]:
        rising = peak * fraction / warmup if warmup else 0.0
        return jnp.where(fraction < warmup, rising, after((fraction - warmup) / (1 - warmup)))

    return rate


def _check(peak: float, end: float, warmup: float) -> None:
    if known(peak) and not 0 < peak < math.inf:
        raise ValueError(f"peak={peak}: expected a positive, finite learning rate")
    if known(end) and not 0 <= end < math.inf:
        raise ValueError(f"end={end}: expected a finite learning rate, 0 or more")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup}: expected a share of the fit, 0 or more and less than 1")
