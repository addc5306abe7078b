"""Calls any Flax module in the one way that posteriors need, whatever its author named the training switch."""

import inspect
from typing import Any, NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.types import Inputs, PRNGKey


class Outputs(NamedTuple):
    """What a network returns for n rows; `features` is what it sows under that name in `intermediates`."""

    logits: Float[Array, "n ... C"]
    features: Float[Array, "n D"] | None
    extras: dict[str, Array]


def in_dtype(module: nn.Module, dtype: Any) -> nn.Module:
    """`module` with its computations in `dtype`; itself for None. ValueError when it has no attribute `dtype`."""
    if dtype is None:
        return module
    if not hasattr(module, "dtype"):
        raise ValueError(f"dtype={jnp.dtype(dtype)}: module={type(module).__name__} has no attribute `dtype` to set")
    return module.clone(dtype=dtype)


def num_rows(inputs: Inputs) -> int:
    """The leading axis that all arrays of `inputs` share."""
    return jax.tree.leaves(inputs)[0].shape[0]


def init_params(module: nn.Module, key: PRNGKey, x: Inputs) -> dict[str, Any]:
    """Fresh parameters of `module` for inputs like `x [n, ...]`.

    ValueError when the module keeps other state than parameters: with BatchNorm one draw would not be one function.
    """
    first = jax.tree.map(lambda leaf: leaf[:1], x)
    variables = dict(module.init({"params": key}, first, **_switch(module, train=False)))
    params = variables.pop("params")
    state = sorted(set(variables) - {"intermediates", "extras"})
    if state:
        raise ValueError(
            f"module={type(module).__name__} keeps the collections {state} beside its parameters (BatchNorm?); a row's "
            "prediction would depend on other rows: use LayerNorm or GroupNorm"
        )
    return params


def forward(module: nn.Module, params: Any, x: Inputs, rngs: dict[str, PRNGKey] | None = None) -> Outputs:
    """Apply `module` to a batch `x [n, ...]`; the module's training switch is on exactly when `rngs` are given."""
    logits, sown = module.apply(
        {"params": params}, x, **_switch(module, train=bool(rngs)), rngs=rngs, mutable=["intermediates", "extras"]
    )
    features = sown.get("intermediates", {}).get("features")
    extras = {name: value[0] for name, value in sown.get("extras", {}).items()}
    return Outputs(logits, None if features is None else features[0].reshape(len(features[0]), -1), extras)


def forward_rows(module: nn.Module, params: Any, x: Inputs, rngs: dict[str, PRNGKey] | None = None) -> Outputs:
    """`forward`, row by row with the same `rngs`: ONE function, so that a row's output cannot depend on other rows.

    This is what makes one dropout mask per draw hold for the whole pool and for any module. XLA merges the mapped axis
    back into the batch axis of every matrix product and convolution, so it costs nothing.
    """

    def one(row: Inputs) -> Outputs:
        outputs = forward(module, params, jax.tree.map(lambda leaf: leaf[None], row), rngs)
        return jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), outputs)

    return jax.vmap(one)(x)


def forward_draws(module: nn.Module, params: Any, draws: Any, x: Inputs) -> Float[Array, "n K C"]:
    """Outputs of the network with each of K draws of its parameters.

    `draws` looks like `params`: leaves with a leading axis K, and None for those that all draws share. What only shared
    parameters lead to, the layers before the first drawn one, is computed once.
    """
    return jax.vmap(lambda draw: forward_rows(module, completed(draw, params), x).logits, out_axes=-2)(draws)


def completed(draw: Any, params: Any) -> Any:
    """The parameters of one draw: None, wherever it stands in `draw`, is that leaf of `params`."""
    return jax.tree.map(lambda drawn, leaf: leaf if drawn is None else drawn, draw, params, is_leaf=lambda x: x is None)


def has_dropout(module: nn.Module, params: Any, x: Inputs) -> bool:
    """Whether `module` asks for the RNG stream `dropout` when its training switch is on. Traces, computes nothing."""
    try:
        jax.eval_shape(lambda p, rows: module.apply({"params": p}, rows, **_switch(module, train=True)), params, x)
    except flax.errors.InvalidRngError:
        return True
    return False


def _switch(module: nn.Module, train: bool) -> dict[str, Any]:
    """The keyword by which `module.__call__` is told to train: `train`, `training`, `deterministic` or none."""
    accepted = inspect.signature(type(module).__call__).parameters
    for name, value in (("train", train), ("training", train), ("deterministic", not train)):
        if name in accepted:
            return {name: value}
    return {}
