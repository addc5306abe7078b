"""A data set as vectors of an encoder that learned from its pool without labels."""

from typing import Literal

import numpy as np

from al_jax.data.dataset import Dataset, check


def self_supervised(
    dataset: Dataset,
    kind: Literal["simclr", "rotation"] = "simclr",
    steps: int = 500,
    minibatch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Dataset:
    """The same rows as vectors `[N, D]` of `al_jax.pretraining.encoder`, float32, for a small network.

    The encoder is trained once, on the pool without its labels, and kept on disk. The other arguments, errors and where
    it lies are those of `encoder`.
    """
    from al_jax.pretraining import encoder  # it trains networks, which know data

    made = encoder(check(dataset), kind, steps, minibatch_size, learning_rate, seed)
    validation = dataset.validation_inputs
    return dataset._replace(
        name=f"{dataset.name} {kind}",
        inputs=_scaled(made.embed(dataset.inputs)),
        test_inputs=_scaled(made.embed(dataset.test_inputs)),
        validation_inputs=None if validation is None else _scaled(made.embed(validation)),
    )


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length sqrt(D): those of SimCLR are compared by their direction."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-8) * np.sqrt(vectors.shape[1])).astype(np.float32)
