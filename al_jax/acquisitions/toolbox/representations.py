"""What a batch method keeps of a row: factors, whose inner products multiply to the rows' inner product."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.reading import features_of, marginal_of
from al_jax.pool import scored
from al_jax.types import Inputs, PRNGKey, Round, ScoreFn

Factors: TypeAlias = tuple[Array, ...]
"""Rows `[n, d_1], [n, d_2], ...`: <row, row'> is the product of the factors' inner products. A vector is one factor."""
Name: TypeAlias = Literal["features", "probabilities", "gradients", "draws"]


def features(predictions: Any) -> Factors:
    """The network's features `[n, D]`; ValueError when it names none."""
    return (features_of(predictions, "the acquisition"),)


def mean_probabilities(predictions: Any) -> Float[Array, "n C"]:
    """p, the mean over posterior samples; ValueError where rows have more than one label."""
    return jnp.exp(marginal_of(predictions, "the acquisition"))


def features_and(score: ScoreFn) -> Callable[[Any], tuple[Array, Array]]:
    """Features [n, D] and a score [n] of every row."""

    def both(predictions: Any) -> tuple[Array, Array]:
        return features(predictions)[0], scored(score, predictions.samples)

    return both


def probabilities(predictions: Any) -> Factors:
    """p `[n, C]`."""
    return (mean_probabilities(predictions),)


def gradients(predictions: Any) -> Factors:
    """The last layer's loss gradient (p - e_y) (x) h for the predicted label y, as its factors [n, C] and [n, D].

    Ash et al. 2020, eq. 1, without the bias, as in the authors' code; y = argmax p, the first of equals.
    """
    p = mean_probabilities(predictions)
    (h,) = features(predictions)
    return p - jax.nn.one_hot(jnp.argmax(p, axis=-1), p.shape[-1], dtype=p.dtype), h


def draws(predictions: Any) -> Factors:
    """How each draw's log-probabilities differ from the mean of all draws, `[n, K C] / sqrt(K)`.

    Inner products are the posterior's own covariances of log-probabilities, summed over classes. Log-probabilities
    below -20 count as -20, so that certain predictions stay finite.
    """
    values = jnp.maximum(predictions.log_probs, -20.0)
    centred = values - values.mean(axis=1, keepdims=True)
    return (centred.reshape(len(centred), -1) / jnp.sqrt(centred.shape[1]),)


OF: dict[str, Callable[[Any], Factors]] = {
    "features": features,
    "probabilities": probabilities,
    "gradients": gradients,
    "draws": draws,
}


def named(representation: str) -> Callable[[Any], Factors]:
    """The representation of this name; ValueError for another."""
    if representation not in OF:
        raise ValueError(f"representation={representation!r}: expected {' or '.join(map(repr, get_args(Name)))}")
    return OF[representation]


def summarised(of: Callable[[Any], Any]) -> Callable[[Round, Inputs, Array], Any]:
    """The `summarise` that keeps `of(predictions)` of every row."""

    def summarise(round: Round, x: Inputs, rows: Array) -> Any:
        return of(round.functions(x))

    return summarise


def known_rows(round: Round) -> tuple[Factors, Bool[Array, " M"]]:
    """What `of_labelled` kept, and which of its slots hold a labelled row."""
    return round.context, jnp.arange(len(round.context[0])) < round.data.labelled.count


def of_labelled(of: Callable[[Any], Any]) -> Callable[[PRNGKey, Round], Any]:
    """The `prepare` that keeps `of(predictions)` of every slot of the labelled buffer, also of those past `count`."""

    def prepare(key: PRNGKey, round: Round) -> Any:
        return of(round.functions(round.data.labelled.inputs))

    return prepare
