"""A `Training` from its parts: what the expression `adam(1e-3), epochs=50, early_stopping(3)` stands for."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax

from al_jax.memo import memoised
from al_jax.training.augmentation import Augmentation
from al_jax.training.objective import Objective
from al_jax.training.optimisers import adam
from al_jax.training.penalty import Penalty
from al_jax.training.settings import Training

STEPS = 300
"""The budget where none is given."""


class EarlyStopping(NamedTuple):
    """See `early_stopping`."""

    patience: int
    every: int | None
    monitor: Literal["nll", "accuracy"]


@memoised
def early_stopping(
    patience: int, every: int | None = None, monitor: Literal["nll", "accuracy"] = "nll"
) -> EarlyStopping:
    """Stop after `patience` evaluations on the validation set without a better one, and restore the best parameters.

    `every`: optimiser steps between evaluations, where the budget is in steps; with one in epochs it is every epoch.
    """
    return EarlyStopping(patience, every, monitor)


@memoised
def training(
    *parts: optax.GradientTransformation | EarlyStopping | Objective,
    minibatch_size: int = 32,
    steps: int | None = None,
    epochs: int | None = None,
    penalty: Penalty | None = None,
    augment: Augmentation | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Training:
    """A `Training` of an optimiser (by default `adam`), an objective and `early_stopping`, in any order.

    It has 300 steps by default. The other arguments are those of `Training`. ValueError as of `Training`, and for two
    parts of a kind.
    """
    stops = [part for part in parts if isinstance(part, EarlyStopping)]
    objectives = [part for part in parts if isinstance(part, Objective)]
    optimisers = [part for part in parts if not isinstance(part, EarlyStopping | Objective)]
    for name, found in (("optimisers", optimisers), ("objectives", objectives), ("early_stopping", stops)):
        if len(found) > 1:
            raise ValueError(f"{len(found)} {name}: expected at most one")
    options: dict[str, Any] = {}
    if stops:
        options = {"patience": stops[0].patience, "evaluate_every": stops[0].every, "monitor": stops[0].monitor}
    return Training(
        optimisers[0] if optimisers else adam(),
        minibatch_size=minibatch_size,
        steps=STEPS if steps is None and epochs is None else steps,
        epochs=epochs,
        penalty=penalty,
        objective=objectives[0] if objectives else None,
        augment=augment,
        dtype=None if dtype == "float32" else jnp.bfloat16,
        **options,
    )
