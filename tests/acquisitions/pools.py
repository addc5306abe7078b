"""Small pools of plain arrays, and what many references need in float64."""

from typing import Any, NamedTuple

import jax
import numpy as np

from al_jax.acquisitions import acquire

N, K, C, D, L, B = 30, 4, 3, 5, 6, 7


class Pool(NamedTuple):
    """Predictions and features of N rows, some of them available, and of L labelled ones."""

    log_probs: np.ndarray
    features: np.ndarray
    available: np.ndarray
    labelled_features: np.ndarray
    labelled_log_probs: np.ndarray


def pool(seed: int, labelled: int = L, rows: int = N) -> Pool:
    """Random, with a few duplicated rows, and features away from the origin."""
    rng = np.random.default_rng(seed)
    features, log_probs = rng.normal(size=(rows, D)) + 2.0, np.log(rng.dirichlet(np.ones(C), (rows, K)))
    features[5], log_probs[5] = features[6], log_probs[6]
    known = np.log(rng.dirichlet(np.ones(C), (labelled, K)))
    return Pool(log_probs, features, rng.random(rows) < 0.8, rng.normal(size=(labelled, D)) + 2.0, known)


def take(acquisition: Any, of: Pool, batch_size: int = B, seed: int = 0, **change: Any) -> Any:
    """What `acquire` chooses, on the host; `change` are its arguments."""
    arguments = of._asdict() | change
    found = acquire(acquisition, batch_size=batch_size, key=jax.random.key(seed), **arguments)
    return jax.tree.map(np.asarray, found)


def probabilities(log_probs: np.ndarray) -> np.ndarray:
    """p, the mean over draws."""
    return np.exp(log_probs).mean(1)


def gradients(log_probs: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(p - e_y) (x) h written out, [n, C D]."""
    p = probabilities(log_probs)
    error = p - np.eye(C)[p.argmax(1)]
    return np.einsum("nc,nd->ncd", error, features).reshape(len(p), C * features.shape[1])


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j| by a double loop."""
    return np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a]).reshape(len(a), len(b))


def last_layer(seed: int, sharpness: float = 1.0, rows: int = 9, classes: int = 5, width: int = 3) -> tuple:
    """Log-probabilities [rows, K, classes] and features [rows, width]."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(rows, K, classes))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), rng.normal(size=(rows, width))
