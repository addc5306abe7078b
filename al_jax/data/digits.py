"""The bundled digits: small enough for a test, and needing no download."""

import numpy as np
from sklearn.datasets import load_digits

from al_jax.data.dataset import Dataset
from al_jax.data.splits import split_rows


def digits(test_size: int = 500, seed: int = 0) -> Dataset:
    """1797 handwritten digits, images uint8 [n, 8, 8, 1] with values 0..16 (scikit-learn's `load_digits`).

    The stratified test split has its own seed: leave it alone, and it is the same in all experiments. ValueError unless
    10 <= test_size <= 1787, and a seed of 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: expected 0 or more and less than 2^32")
    images, labels = load_digits(return_X_y=True)
    inputs, labels = images.reshape(-1, 8, 8, 1).astype(np.uint8), labels.astype(np.int32)
    pool, test = split_rows("test_size", test_size, labels, seed)
    return Dataset("digits", inputs[pool], labels[pool], inputs[test], labels[test], num_classes=10)
