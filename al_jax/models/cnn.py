"""Small convolutional networks of the deep-active-learning papers, for images `[n, h, w, c]`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from al_jax.models.checks import check_attributes
from al_jax.models.layers import ChannelDropoutConv, Conv, Dropout, max_pool

Images = Shaped[Array | np.ndarray, "n h w c"]


class ImageNetwork(nn.Module):
    """What all of them share.

    Attributes:
      num_classes: C, the width of the last layer.
      dropout: the largest dropout rate in the network; 0 leaves no dropout layer in it.
      mean, std: of the raw inputs; they are cast to float32 and then normalised.
      dense: constructor of the dense layers, `VariationalDense` for Bayesian last layers on a deterministic trunk.
      dtype: of the computations, not of the parameters and the logits: bfloat16 for mixed-precision training.
      last: constructor of the last layer, by default `dense`: `VariationalDense` for a Bayesian last layer alone.
    """

    num_classes: int
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None
    last: Callable[..., nn.Module] | None = None

    def __post_init__(self) -> None:
        check_attributes(self)
        super().__post_init__()

    def normalised(self, x: Images, name: str, smallest: int) -> Float[Array, "n h w c"]:
        """`(x - mean) / std`, cast; ValueError unless `x` are images of at least `smallest` pixels a side."""
        if x.ndim != 4 or min(x.shape[1:3]) < smallest:
            shape = " x ".join(map(str, x.shape[1:]))
            raise ValueError(
                f"network={name} takes images of at least {smallest} x {smallest} pixels and one channel: rows are "
                f"{shape}"
            )
        return ((jnp.asarray(x, jnp.float32) - self.mean) / self.std).astype(self.dtype or jnp.float32)

    def classified(self, features: Float[Array, "n D"]) -> Float[Array, "n C"]:
        """Name the features, and return their logits in float32."""
        self.sow("intermediates", "features", features)
        return (self.last or self.dense)(self.num_classes, dtype=self.dtype)(features).astype(jnp.float32)


class GalCNN(ImageNetwork):
    """The MNIST network of Gal, Islam & Ghahramani 2017 (Keras' example): `x [n, h, w, c] -> [n, C]`.

    All K draws share the convolutions: dropout comes after them, at half the rate of the one before the output.
    """

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "gal_cnn", 8)
        for _ in range(2):
            x = nn.relu(Conv(32, (4, 4), padding="VALID", dtype=self.dtype)(x))
        x = Dropout(self.dropout / 2, deterministic=not train)(max_pool(x))
        x = nn.relu(self.dense(128, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=not train)(x)
        return self.classified(x)


class BatchBALDCNN(ImageNetwork):
    """The MNIST network of Kirsch, van Amersfoort & Gal 2019: `x [n, h, w, c] -> [n, C]`.

    Both convolutions are followed by dropout of whole channels. It commutes with max-pooling and ReLU and is written
    after them, where `ChannelDropoutConv` shares the second convolution between draws.
    """

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "batchbald_cnn", 16)
        off = not train
        x = nn.relu(max_pool(Conv(32, (5, 5), padding="VALID", dtype=self.dtype)(x)))
        x = ChannelDropoutConv(64, (5, 5), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=off)(nn.relu(max_pool(x)))
        x = nn.relu(self.dense(128, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=off)(x)
        return self.classified(x)


class EMNISTCNN(ImageNetwork):
    """The EMNIST network of Kirsch, van Amersfoort & Gal 2019: `x [n, h, w, c] -> [n, C]`.

    As in the authors' code the second of the three convolutions is not pooled.
    """

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "emnist_cnn", 14)
        off = not train
        x = nn.relu(max_pool(Conv(32, (3, 3), padding="VALID", dtype=self.dtype)(x)))
        x = ChannelDropoutConv(64, (3, 3), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = nn.relu(x)
        x = ChannelDropoutConv(128, (3, 3), self.dropout, padding="VALID", deterministic=off, dtype=self.dtype)(x)
        x = Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=off)(nn.relu(max_pool(x)))
        x = nn.relu(self.dense(512, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=off)(x)
        return self.classified(x)


class KerasCNN(ImageNetwork):
    """Keras' CIFAR-10 example, the "K-CNN" of Beluch et al. 2018: `x [n, h, w, c] -> [n, C]`.

    Two blocks of two convolutions, the first of each padded; dropout after each at half the rate of the one before the
    output.
    """

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "keras_cnn", 10)
        for width in (32, 64):
            for padding in ("SAME", "VALID"):
                x = nn.relu(Conv(width, (3, 3), padding=padding, dtype=self.dtype)(x))
            x = Dropout(self.dropout / 2, deterministic=not train)(max_pool(x))
        x = nn.relu(self.dense(512, dtype=self.dtype)(x.reshape(len(x), -1)))
        x = Dropout(self.dropout, deterministic=not train)(x)
        return self.classified(x)


class LeNet(ImageNetwork):
    """LeNet-5's layers (LeCun et al. 1998) with ReLU, max-pooling and dropout: `x [n, h, w, c] -> [n, C]`."""

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "lenet", 16)
        for width in (6, 16):
            x = max_pool(nn.relu(Conv(width, (5, 5), padding="VALID", dtype=self.dtype)(x)))
        x = x.reshape(len(x), -1)
        for width in (120, 84):
            x = nn.relu(self.dense(width, dtype=self.dtype)(x))
            x = Dropout(self.dropout, deterministic=not train)(x)
        return self.classified(x)
