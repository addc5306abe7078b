"""What every layer of any Flax module computes for a row: the multi-level features of a network."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.models.forward import Outputs, forward
from al_jax.models.layers import ChannelDropoutConv, VariationalConv, VariationalDense
from al_jax.types import Inputs, PRNGKey

LAYERS = (nn.Dense, nn.Conv, VariationalDense, VariationalConv, ChannelDropoutConv)


class Levels(NamedTuple):
    """What a network returns for n rows, and what each layer but the last computes, first layer first."""

    outputs: Outputs
    levels: tuple[Float[Array, "n D"], ...]


def forward_levels(module: nn.Module, params: Any, x: Inputs, rngs: dict[str, PRNGKey] | None = None) -> Levels:
    """`forward`, with the rectified outputs of all dense and convolutional layers, averaged over positions.

    ValueError for a network of a single layer, which has none before its last.
    """
    seen: list[Array] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(context.module, LAYERS) and context.method_name == "__call__":
            seen.append(result)
        return result

    with nn.intercept_methods(note):
        outputs = forward(module, params, x, rngs)
    if len(seen) < 2:
        raise ValueError(
            f"module={type(module).__name__} has {len(seen)} dense or convolutional layers: expected at least one "
            "before the last"
        )
    rectified = (nn.relu(level.astype(jnp.float32)) for level in seen[:-1])
    return Levels(outputs, tuple(level.mean(axis=tuple(range(1, level.ndim - 1))) for level in rectified))
