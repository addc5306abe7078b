"""A multi-layer perceptron with dropout after every hidden layer."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from al_jax.models.checks import check_attributes
from al_jax.models.layers import Dropout
from al_jax.sweep import is_zero


class MLP(nn.Module):
    """Flatten, normalise, hidden layers with ReLU and dropout, logits: `x [n, ...] -> [n, C]`.

    Attributes:
      num_classes: C, the width of the last layer.
      hidden: widths of the hidden layers; the last hidden layer is the `features`.
      dropout: rate after each hidden layer; 0 leaves no dropout layer in the network.
      mean, std: of the raw inputs; they are cast to float32 and then normalised.
      dense: layer constructor, `VariationalDense` for a network with weight uncertainty.
      dtype: of the computations, not of the parameters and the logits: bfloat16 for mixed-precision training.
      last: constructor of the last layer, by default `dense`: `VariationalDense` for a Bayesian last layer alone.
    """

    num_classes: int
    hidden: Sequence[int] = (128, 128)
    dropout: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    dense: Callable[..., nn.Module] = nn.Dense
    dtype: Any = None
    last: Callable[..., nn.Module] | None = None

    def __post_init__(self) -> None:
        check_attributes(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Shaped[Array | np.ndarray, "n ..."], train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = (jnp.asarray(x, jnp.float32).reshape(len(x), -1) - self.mean) / self.std
        for width in self.hidden:
            x = nn.relu(self.dense(width, dtype=self.dtype)(x))
            if not is_zero(self.dropout):
                x = Dropout(self.dropout, deterministic=not train)(x)
        self.sow("intermediates", "features", x)
        return (self.last or self.dense)(self.num_classes, dtype=self.dtype)(x).astype(jnp.float32)
