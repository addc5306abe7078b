"""How a network's outputs meet labels. One likelihood is given to every posterior."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from al_jax import information, metrics
from al_jax.types import Likelihood, Predictions


def categorical() -> Likelihood:
    """Classification: outputs are logits `[n, ..., C]`, labels integers `[n, ...]`, losses and NLL in nats.

    Dense prediction (labels `[n, h, w]`) adds axes in the middle; a row's loss is their mean.
    """

    def loss(outputs: Float[Array, "n *d C"], labels: Int[Array, "n *d"]) -> Float[Array, " n"]:
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        return losses.reshape(len(losses), -1).mean(axis=1)

    def predictions(
        outputs: Float[Array, "n *d K C"],
        point: Float[Array, "n *d C"],
        features: Float[Array, "n D"] | None = None,
        extras: dict[str, Array] | None = None,
    ) -> Predictions:
        return Predictions(jax.nn.log_softmax(outputs), jax.nn.log_softmax(point), features, extras or {})

    def marginal(predictions: Predictions) -> Predictions:
        return predictions._replace(log_probs=information.log_marginal(predictions.log_probs)[..., None, :])

    def evaluate(predictions: Predictions, labels: Int[Array, "n *d"]) -> dict[str, Array]:
        log_p = jnp.squeeze(marginal(predictions).log_probs, -2)
        return {
            "accuracy": metrics.accuracy(log_p, labels),
            "nll": metrics.nll(log_p, labels),
            "brier": metrics.brier(log_p, labels),
            "ece": metrics.ece(log_p, labels),
        }

    return Likelihood(loss, predictions, evaluate, marginal)
