"""Small convolutional networks of the deep-active-learning papers, for images `[n, h, w, c]`.

Attributes that all of them share, with `resnet.py`:
  num_classes: C, the width of the last layer.
  dropout: the largest dropout rate in the network; 0 leaves no dropout layer in it.
  mean, std: of the raw inputs; they are cast to float32 and then normalised.
  dense: constructor of the dense layers, `VariationalDense` for Bayesian last layers on a deterministic trunk.
  dtype: of the computations, not of the parameters and the logits: bfloat16 for mixed-precision training.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from al_jax.models.layers import ChannelDropoutConv, Conv, Dropout, max_pool

Images = Shaped[Array | np.ndarray, "n h w c"]


def normalised(
    x: Images, mean: float, std: float, name: str, smallest: int, dtype: Any = None
) -> Float[Array, "n h w c"]:
    """`(x - mean) / std` in float32, cast to `dtype`; ValueError unless `x` are images of `smallest` pixels or more."""
    if x.ndim != 4 or min(x.shape[1:3]) < smallest:
        shape = " x ".join(map(str, x.shape[1:]))
        raise ValueError(
            f"network={name} takes images of at least {smallest} x {smallest} pixels and one channel: rows are {shape}"
        )
    return ((jnp.asarray(x, jnp.float32) - mean) / std).astype(dtype or jnp.float32)


class GalCNN(nn.Module):
    """The MNIST network of Gal, Islam & Ghahramani 2017 (Keras' example): `x [n, h, w, c] -> [n, C]`.

    All K draws share the convolutions: dropout comes after them, at half the rate of the one before the output.
    """

    num_classes: int
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = normalised(x, self.mean, self.std, "gal_cnn", 8, self.dtype)
        for _ in range(2):
            x = nn.relu(Conv(32, (4, 4), padding="VALID", dtype=self.dtype)(x))
        x = Dropout(self.dropout / 2, deterministic=not train)(max_pool(x))
        x = nn.relu(self.dense(128, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=not train)(x)
        self.sow("intermediates", "features", x)
        return self.dense(self.num_classes, dtype=self.dtype)(x).astype(jnp.float32)


class BatchBALDCNN(nn.Module):
    """The MNIST network of Kirsch, van Amersfoort & Gal 2019: `x [n, h, w, c] -> [n, C]`.

    Both convolutions are followed by dropout of whole channels. It commutes with max-pooling and ReLU and is written
    after them, where `ChannelDropoutConv` shares the second convolution between draws.
    """

    num_classes: int
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = normalised(x, self.mean, self.std, "batchbald_cnn", 16, self.dtype)
        off = not train
        x = nn.relu(max_pool(Conv(32, (5, 5), padding="VALID", dtype=self.dtype)(x)))
        x = ChannelDropoutConv(64, (5, 5), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=off)(nn.relu(max_pool(x)))
        x = nn.relu(self.dense(128, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=off)(x)
        self.sow("intermediates", "features", x)
        return self.dense(self.num_classes, dtype=self.dtype)(x).astype(jnp.float32)


class EMNISTCNN(nn.Module):
    """The EMNIST network of Kirsch, van Amersfoort & Gal 2019: `x [n, h, w, c] -> [n, C]`.

    As in the authors' code the second of the three convolutions is not pooled.
    """

    num_classes: int
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = normalised(x, self.mean, self.std, "emnist_cnn", 14, self.dtype)
        off = not train
        x = nn.relu(max_pool(Conv(32, (3, 3), padding="VALID", dtype=self.dtype)(x)))
        x = ChannelDropoutConv(64, (3, 3), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = nn.relu(x)
        x = ChannelDropoutConv(128, (3, 3), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=off)(nn.relu(max_pool(x)))
        x = nn.relu(self.dense(512, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=off)(x)
        self.sow("intermediates", "features", x)
        return self.dense(self.num_classes, dtype=self.dtype)(x).astype(jnp.float32)


class LeNet(nn.Module):
    """LeNet-5's layers (LeCun et al. 1998) with ReLU, max-pooling and dropout: `x [n, h, w, c] -> [n, C]`."""

    num_classes: int
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = normalised(x, self.mean, self.std, "lenet", 16, self.dtype)
        for width in (6, 16):
            x = max_pool(nn.relu(Conv(width, (5, 5), padding="VALID", dtype=self.dtype)(x)))
        x = x.reshape(len(x), -1)
        for width in (120, 84):
            x = nn.relu(self.dense(width, dtype=self.dtype)(x))
            x = Dropout(self.dropout, deterministic=not train)(x)
        self.sow("intermediates", "features", x)
        return self.dense(self.num_classes, dtype=self.dtype)(x).astype(jnp.float32)
