"""Two moons: two classes in the plane, where a score can be looked at everywhere."""

import numpy as np
from sklearn.datasets import make_moons

from al_jax.data.dataset import Dataset


def two_moons(size: int = 500, test_size: int = 1000, noise: float = 0.2, seed: int = 0) -> Dataset:
    """Two interleaving half circles with Gaussian noise (scikit-learn's `make_moons`), float32 [n, 2].

    Standardised by the mean and the standard deviation of the pool, for the axes of the test split too. ValueError
    unless both sizes are at least 2 and noise is finite and >= 0.
    """
    for name, value in {"size": size, "test_size": test_size}.items():
        if value < 2:
            raise ValueError(f"{name}={value}: expected at least 2")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise={noise}: expected a finite standard deviation >= 0")
    points, labels = make_moons(size + test_size, noise=noise, random_state=seed)
    points = ((points - points[:size].mean(axis=0)) / points[:size].std(axis=0)).astype(np.float32)
    labels = labels.astype(np.int32)
    return Dataset("two_moons", points[:size], labels[:size], points[size:], labels[size:], num_classes=2)
