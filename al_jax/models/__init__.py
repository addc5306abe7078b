"""Networks: plain Flax modules whose `__call__(x, train)` returns logits and names its `features`."""

from al_jax.models.cnn import EMNISTCNN, BatchBALDCNN, GalCNN, KerasCNN, LeNet
from al_jax.models.layers import (
    ChannelDropoutConv,
    Conv,
    Dropout,
    Gaussian,
    VariationalConv,
    VariationalDense,
    max_pool,
)
from al_jax.models.mlp import MLP
from al_jax.models.resnet import ResNet18

__all__ = [
    "EMNISTCNN",
    "MLP",
    "BatchBALDCNN",
    "ChannelDropoutConv",
    "Conv",
    "Dropout",
    "GalCNN",
    "Gaussian",
    "KerasCNN",
    "LeNet",
    "ResNet18",
    "VariationalConv",
    "VariationalDense",
    "max_pool",
]
