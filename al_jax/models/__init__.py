"""Networks: plain Flax modules whose `__call__(x, train)` returns logits and names its `features`."""

from al_jax.models.layers import Dropout, Gaussian, VariationalConv, VariationalDense
from al_jax.models.mlp import MLP

__all__ = ["MLP", "Dropout", "Gaussian", "VariationalConv", "VariationalDense"]
