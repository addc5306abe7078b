"""How a network's outputs meet labels. One likelihood is given to a posterior and to its campaign."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from al_jax import information, metrics
from al_jax.memo import memoised
from al_jax.sweep import known
from al_jax.types import GaussianPredictions, Likelihood, Predictions

SMALLEST_VARIANCE = 1e-6  # of the network's outputs, where it is learned


@memoised
def categorical() -> Likelihood:
    """Classification: outputs are logits `[n, ..., C]`, labels integers `[n, ...]`, losses and NLL in nats.

    Dense prediction (labels `[n, h, w]`) adds axes in the middle; a row's loss is their mean. It is there for cycles of
    your own: a `Dataset`, and so a campaign, has one label a row.
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


@memoised
def gaussian(noise_std: float | None = None, shift: float = 0.0, scale: float = 1.0) -> Likelihood:
    """Regression: labels `[n]` are N(mean, variance) in units of their own, losses and NLL in nats.

    Args:
      noise_std: of the labels, the same for all rows; outputs are `[n, 1]`. None learns it for every row: outputs are
        `[n, 2]`, the mean and, through a softplus, the variance (Nix & Weigend 1994).
      shift: mean = shift + scale * output, so that a network's outputs need not have the labels' size.
      scale: as `shift`.

    `metrics`: `rmse` of the mean, `nll` of the mixture over samples, and `coverage`, the share of labels in the central
    95 % interval of the normal with the mixture's mean and variance. `marginal` keeps all samples: of a mixture of
    Gaussians less would not do. ValueError unless noise_std and scale are positive and finite.
    """
    for name, value in (("noise_std", noise_std), ("scale", scale)):
        if value is not None and known(value) and not 0 < value < float("inf"):
            raise ValueError(f"{name}={value}: expected a positive number")
    width = 1 if noise_std is not None else 2

    def moments(outputs: Float[Array, "*n C"]) -> tuple[Array, Array]:
        if outputs.shape[-1] != width:
            raise ValueError(
                f"the network has {outputs.shape[-1]} outputs: expected {width}, "
                f"{'the mean' if width == 1 else 'mean and variance'} (noise_std={noise_std})"
            )
        mean = shift + scale * outputs[..., 0]
        if noise_std is not None:
            return mean, jnp.full_like(mean, noise_std**2)
        return mean, scale**2 * (jax.nn.softplus(outputs[..., 1]) + SMALLEST_VARIANCE)

    def loss(outputs: Float[Array, "n C"], labels: Float[Array, " n"]) -> Float[Array, " n"]:
        return -metrics.normal_log_density(labels, *moments(outputs))

    def predictions(
        outputs: Float[Array, "n K C"],
        point: Float[Array, "n C"],
        features: Float[Array, "n D"] | None = None,
        extras: dict[str, Array] | None = None,
    ) -> GaussianPredictions:
        return GaussianPredictions(*moments(outputs), *moments(point), features, extras or {})

    def evaluate(predictions: GaussianPredictions, labels: Float[Array, " n"]) -> dict[str, Array]:
        return {
            "rmse": metrics.rmse(predictions.mean, labels),
            "nll": metrics.mixture_nll(predictions.mean, predictions.variance, labels),
            "coverage": metrics.coverage(predictions.mean, predictions.variance, labels),
        }

    return Likelihood(loss, predictions, evaluate, lambda predictions: predictions, width)


@memoised
def auto(num_classes: int | None, noise: float | None = 0.3, shift: float = 0.0, scale: float = 1.0) -> Likelihood:
    """`categorical` where there are classes, else `gaussian` whose labels have mean `shift` and deviation `scale`.

    `noise`: standard deviation of the labels' noise over `scale`; None learns it row by row. ValueError as `gaussian`.
    """
    if num_classes is not None:
        return categorical()
    if noise is not None and known(noise) and not 0 < noise < float("inf"):
        raise ValueError(f"noise={noise}: expected a positive number or None")
    return gaussian(None if noise is None else noise * scale, shift, scale)
