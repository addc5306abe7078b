"""The network that fits the rows, where none was chosen."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from al_jax.models.cnn import GalCNN, LeNet
from al_jax.models.mlp import MLP


def auto(
    num_classes: int,
    shape: tuple[int, ...],
    dropout: float = 0.5,
    mean: float = 0.0,
    std: float = 1.0,
    dense: Callable[..., nn.Module] = nn.Dense,
    last: Callable[..., nn.Module] | None = None,
) -> nn.Module:
    """`GalCNN` for grey images of at least 16 pixels a side, `LeNet` for colour ones, `MLP` for everything else.

    shape: of a row. The others are the network's attributes.
    """
    options: dict[str, Any] = {"dropout": dropout, "mean": mean, "std": std, "dense": dense, "last": last}
    if len(shape) != 3 or min(shape[:2]) < 16:
        return MLP(num_classes, **options)
    return (GalCNN if shape[2] == 1 else LeNet)(num_classes, **options)
