"""Networks: plain Flax modules whose `__call__(x, train)` returns logits and names its `features`."""

from al_jax.models.layers import Gaussian, VariationalConv, VariationalDense
from al_jax.models.mlp import MLP

__all__ = ["MLP", "Gaussian", "VariationalConv", "VariationalDense"]
