"""What methods read of predictions, or an error that says what is missing."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from al_jax.information import log_marginal
from al_jax.types import Round


def features_of(predictions: Any, method: str) -> Float[Array, "n D"]:
    """`predictions.features`; ValueError when the network names none."""
    if predictions.features is None:
        raise ValueError(
            f"{method} needs `features`, and there are none: the network must name them by "
            "self.sow('intermediates', 'features', h)"
        )
    return predictions.features


def head_of(round: Round, method: str) -> Callable[[Array], Array]:
    """`round.head`; ValueError when the posterior offers none."""
    if round.head is None:
        raise ValueError(
            f"{method} needs the network's last layer: expected a posterior with a `head`; acquire() has none, run it "
            "in a campaign"
        )
    return round.head


def marginal_of(predictions: Any, method: str) -> Float[Array, "n C"]:
    """log p, the mean over samples; ValueError where rows have more than one label."""
    log_probs = predictions.log_probs
    if log_probs.ndim != 3:
        raise ValueError(f"log_probs has shape {log_probs.shape}: {method} expects [n, K, C], one label a row")
    return log_marginal(log_probs)


def extra_of(predictions: Any, name: str, posterior: str) -> Float[Array, " n"]:
    """`predictions.extras[name]`; ValueError when the posterior is none of this kind."""
    if name not in predictions.extras:
        raise ValueError(f"predictions have no extras[{name!r}]: expected those of posteriors.{posterior}")
    return predictions.extras[name]
