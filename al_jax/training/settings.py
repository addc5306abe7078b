"""How a network is trained on the labelled rows."""

import dataclasses
from typing import Any, Literal

import optax

from al_jax.training.augmentation import Augmentation
from al_jax.training.objective import Objective
from al_jax.training.penalty import Penalty


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained on the labelled rows.

    Attributes:
      optimizer: optax transformation, its state fresh in every fit. Those that take more than optax's arguments are
        given `fraction`, the share of the budget's steps that are done.
      minibatch_size: rows in a minibatch.
      steps: budget in optimiser steps. Shuffled epochs follow each other without a gap, so a minibatch is always full,
        also when fewer rows than `minibatch_size` are labelled.
      epochs: budget in passes over the labelled rows, instead of `steps`; the last minibatch of a pass is smaller, and
        the number of steps grows with the labelled count without a recompilation.
      penalty: (params, count) -> scalar added to the mean loss; see `l2`.
      objective: what is minimised beside the penalty, such as `fixmatch()`; None is the likelihood's loss alone.
      patience: stop after so many evaluations on the validation set without a better one, and restore the best
        parameters. None trains the whole budget and needs no validation set.
      evaluate_every: steps between evaluations when the budget is in steps; with `epochs` it is every epoch.
      monitor: what early stopping compares, of the deterministic network.
      augment: (key, inputs [b, ...]) -> inputs [b, ...], applied to every minibatch; see `augmentation`.
      dtype: of the computations of a step, bfloat16 for mixed precision; parameters, moments, losses and all that
        predicts stay in float32. The network must have an attribute `dtype`, as Flax's layers do.

    Raises ValueError unless exactly one positive budget is given and `evaluate_every` divides `steps`.
    """

    optimizer: optax.GradientTransformation
    minibatch_size: int = 32
    steps: int | None = None
    epochs: int | None = None
    penalty: Penalty | None = None
    objective: Objective | None = None
    patience: int | None = None
    evaluate_every: int | None = None
    monitor: Literal["nll", "accuracy"] = "nll"
    augment: Augmentation | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"steps={self.steps}, epochs={self.epochs}: give exactly one of the two budgets")
        for name in ("minibatch_size", "steps", "epochs", "patience", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
            if value is not None and value >= 2**31:
                raise ValueError(f"{name}={value}: expected less than 2^31")
        if self.evaluate_every is not None and (self.steps is None or self.steps % self.evaluate_every):
            raise ValueError(f"evaluate_every={self.evaluate_every}: expected a divisor of steps={self.steps}")
        if self.patience is not None and self.steps is not None and self.evaluate_every is None:
            raise ValueError(f"patience={self.patience} with a budget in steps needs evaluate_every")
        if self.monitor not in ("nll", "accuracy"):
            raise ValueError(f"monitor={self.monitor!r}: expected 'nll' or 'accuracy'")
        if self.objective is not None and not isinstance(self.objective, Objective):
            raise ValueError(f"objective={self.objective!r:.80}: expected an Objective, such as fixmatch()")
