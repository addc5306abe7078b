"""What a training step minimises: the contract of objectives, and the plain one."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.sweep import known
from al_jax.training.penalty import Params
from al_jax.types import Data, Inputs, Likelihood, PRNGKey

Report: TypeAlias = dict[str, Array]
"""Scalars of a step that `fit` reports, of the last one."""


class Apply(NamedTuple):
    """The network as it is trained: `apply(params, key, x [b, ...]) -> outputs [b, ..., C]`.

    `key` draws the noise of training, dropout masks or weights; with None there is none, as in `Predictions.point`.
    """

    outputs: Callable[[Params, PRNGKey | None, Inputs], Array]
    likelihood: Likelihood

    def __call__(self, params: Params, key: PRNGKey | None, x: Inputs) -> Array:
        """Outputs for the rows."""
        return self.outputs(params, key, x)


class Minibatch(NamedTuple):
    """Rows of a step. Of the unlabelled ones `labels` is None. Where `valid` is False a row must count for nothing."""

    inputs: Inputs  # [b, ...]
    labels: Any  # [b, ...]
    weights: Float[Array, " b"]
    valid: Bool[Array, " b"]

    def mean(self, losses: Float[Array, " b"]) -> Float[Array, ""]:
        """The weighted mean over valid rows, in which their number counts and not their weights; 0 of none."""
        weighted = losses * self.weights
        return jnp.sum(jnp.where(self.valid, weighted, 0.0)) / jnp.maximum(jnp.sum(self.valid), 1)


def no_memory(params: Params, data: Data) -> None:
    """The `init` of an objective that remembers nothing."""
    return None


def same_memory(memory: Any, params: Params, progress: Float[Array, ""]) -> Any:
    """The `update` of one that learns nothing on its way."""
    return memory


def last_params(params: Params, memory: Any) -> Params:
    """The `finish` of one that hands the trained parameters back."""
    return params


class Objective(NamedTuple):
    """What is minimised, beside penalties: pure functions, so that it trains whatever is trained by minibatches.

    loss(key, apply, params, labelled, unlabelled, progress, memory) -> (loss, report): in nats a row. `unlabelled` are
        random available rows of the pool, with repetition, or None for ratio 0; `progress` in [0, 1) is the share of
        the budget's steps that are done
    ratio: unlabelled rows for each labelled one of a minibatch
    init(params, data) -> memory                   before the first step
    update(memory, params, progress) -> memory     after every step
    finish(params, memory) -> params               what the fit returns, and what early stopping looks at
    """

    loss: Callable[..., tuple[Array, Report]]
    ratio: int = 0
    init: Callable[[Params, Data], Any] = no_memory
    update: Callable[[Any, Params, Array], Any] = same_memory
    finish: Callable[[Params, Any], Params] = last_params


def supervised_loss(key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch) -> Float[Array, ""]:
    """The likelihood's mean loss on the labelled rows."""
    outputs = apply(params, key, labelled.inputs)
    return labelled.mean(apply.likelihood.loss(outputs, labelled.labels))


def _supervised(
    key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
) -> tuple[Array, Report]:
    return supervised_loss(key, apply, params, labelled), {}


SUPERVISED = Objective(_supervised)
"""The likelihood's loss alone, which a `Training` without an objective minimises."""


def check_classes(name: str, apply: Apply) -> None:
    """ValueError unless the outputs are logits of classes."""
    if apply.likelihood.outputs is not None:
        raise ValueError(f"objective={name} is of classes: expected categorical(), not a likelihood of numbers")


def check_unlabelled(name: str, **numbers: float) -> None:
    """ValueError unless a weight is not negative, a ratio at least 1 and a threshold in [0, 1]."""
    for argument, value in numbers.items():
        low, high = {"ratio": (1, float("inf")), "threshold": (0, 1)}.get(argument, (0, float("inf")))
        if known(value) and not low <= value <= high:
            raise ValueError(f"{name}: {argument}={value}: expected {low} to {high}")
