"""The laws of a pointwise score."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from al_jax.testing.laws import close, law
from al_jax.types import ScoreFn


def check_score(
    score: ScoreFn,
    *,
    low: Callable[[int, int], float] | None = None,
    high: Callable[[int, int], float] | None = None,
    seed: int = 0,
) -> None:
    """Run the laws of a pointwise score `log_probs [..., K, C] -> [...]`.

    Shape for any leading axes; finite at probabilities 0 and 1, at logits of +-1e4 and for K = 1; invariant to the
    order of samples and of classes; equivariant to the order of rows; the same under jit, vmap and float64; and, where
    they are given, `low(K, C) <= score <= high(K, C)`.
    """
    generator = np.random.default_rng(seed)
    jitted, mapped = jax.jit(score), jax.jit(jax.vmap(score))
    for name, log_probs in score_examples(generator).items():
        scores = np.asarray(jitted(log_probs))
        num_samples, num_classes = log_probs.shape[-2:]
        law("shape [..., K, C] -> [...]", scores.shape == log_probs.shape[:-2], log_probs.shape, scores.shape)
        for row in np.ndindex(scores.shape):
            law(f"finite {name}", bool(np.isfinite(scores[row])), log_probs[row], scores[row])
            if low is not None:
                law("lower bound", bool(scores[row] >= low(num_samples, num_classes)), log_probs[row], scores[row])
            if high is not None:
                limit = high(num_samples, num_classes) + 1e-6
                law("upper bound", bool(scores[row] <= limit), log_probs[row], scores[row])
        for axis, what in ((-2, "samples"), (-1, "classes")):
            order = generator.permutation(log_probs.shape[axis])
            shuffled = jitted(np.take(log_probs, order, axis))
            close(f"invariant to the order of {what}", shuffled, scores, log_probs)
        if scores.ndim:
            order = generator.permutation(len(scores))
            close("equivariant to the order of rows", jitted(log_probs[order]), scores[order], log_probs)
            close("the same under vmap", mapped(log_probs), scores, log_probs)
        else:
            close("the same under jit", score(jnp.asarray(log_probs)), scores, log_probs)
        with jax.enable_x64(True):
            double = np.asarray(jitted(log_probs.astype(np.float64)))
            law("float64 in, float64 out", double.dtype == np.float64, log_probs.dtype, double.dtype)
        close("the same in float64", double, scores, log_probs)


def score_examples(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """log-probabilities that scores must bear, by what is special about them."""

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        return np.asarray(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)))

    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(4, dtype=np.float32)[generator.integers(0, 4, (6, 5))])
        partly = np.log(
            np.array([0.5, 0.5, 0.0, 0.0], np.float32)[generator.permuted(np.tile(np.arange(4), (6, 5, 1)), axis=-1)]
        )
    return {
        "for ordinary predictions": log_softmax(generator.normal(size=(6, 5, 4)) * 2),
        "for one row": log_softmax(generator.normal(size=(5, 4))),
        "for two leading axes": log_softmax(generator.normal(size=(2, 3, 5, 4))),
        "for K = 1": log_softmax(generator.normal(size=(6, 1, 4))),
        "for two classes and many samples": log_softmax(generator.normal(size=(6, 40, 2)) * 3),
        "for uniform predictions": log_softmax(np.zeros((6, 5, 4))),
        "at probabilities 0 and 1": certain,
        "at some probabilities 0": partly,
        "at logits of +-1e4": log_softmax(generator.choice([-1e4, 1e4], (6, 5, 4))),
    }
