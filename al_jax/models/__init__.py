"""Networks: plain Flax modules whose `__call__(x, train)` returns logits and names its `features`.

In expressions they have the names of their files' style: `mlp`, `gal_cnn`, and `dense` for Flax's layer.
"""

from flax.linen import Dense as dense

from al_jax.models.auto import auto
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

mlp, gal_cnn, batchbald_cnn, emnist_cnn, keras_cnn = MLP, GalCNN, BatchBALDCNN, EMNISTCNN, KerasCNN
lenet, resnet18, variational_dense = LeNet, ResNet18, VariationalDense

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
    "auto",
    "batchbald_cnn",
    "dense",
    "emnist_cnn",
    "gal_cnn",
    "keras_cnn",
    "lenet",
    "max_pool",
    "mlp",
    "resnet18",
    "variational_dense",
]
