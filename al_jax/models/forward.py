"""Calls any Flax module in the one way that posteriors need.

A module is a `flax.linen.Module` whose `__call__` takes the rows, and nothing else that has no default but the training
switch (`switch.py`); it returns one array `[n, ..., C]` and keeps nothing but parameters. Random numbers come from any
stream.
"""

import warnings
from typing import Any, NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.models.probabilities import ends_in_softmax
from al_jax.models.switch import SWITCHES, switched
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

    ValueError for what is not a Flax module, and when it keeps other state than parameters: with BatchNorm one draw
    would not be one function.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"module={getattr(module, '__name__', type(module).__name__)}: expected an instance of flax.linen.Module; "
            "of an NNX class without dropout, `flax.nnx.bridge.to_linen(Class, ...)` makes one"
        )
    first = jax.tree.map(lambda leaf: leaf[:1], x)

    def fresh(network: nn.Module, x: Inputs, **given: Any) -> Any:
        return network.init({"params": key}, x, **given)

    variables = dict(switched(fresh, module, first, train=False))
    params = variables.pop("params", {})
    state = sorted(set(variables) - {"intermediates", "extras"})
    if state:
        raise ValueError(
            f"module={type(module).__name__} keeps the collections {state} beside its parameters (BatchNorm?); a row's "
            "prediction would depend on other rows: use LayerNorm or GroupNorm"
        )
    if ends_in_softmax(module, first):
        warnings.warn(
            f"module={type(module).__name__} ends in a softmax: expected logits, for the likelihood takes one of its "
            "own and would never see a probability above e / (e + C - 1)",
            RuntimeWarning,
            stacklevel=2,
        )
    return params


def forward(module: nn.Module, params: Any, x: Inputs, rngs: dict[str, PRNGKey] | None = None) -> Outputs:
    """Apply `module` to a batch `x [n, ...]`; the module's training switch is on exactly when `rngs` are given.

    Integers of 8 bits, as images are stored, reach the module as float32: its arithmetic would overflow. Wider ones,
    such as tokens, stay integers. ValueError when the module is not what this file's docstring says.
    """
    if rngs:  # whatever stream is not among them takes its keys from Flax's default one
        rngs = rngs | {"params": jax.random.fold_in(next(iter(rngs.values())), 0)}

    def applied(network: nn.Module, x: Inputs, **given: Any) -> Any:
        return network.apply({"params": params}, x, **given, rngs=rngs, mutable=["intermediates", "extras"])

    try:
        logits, sown = switched(applied, module, x, train=bool(rngs))
    except flax.errors.InvalidRngError as error:
        raise ValueError(
            f"module={type(module).__name__} draws random numbers while it does not train ({error}); expected a switch "
            f"named {' or '.join(SWITCHES)}"
        ) from error
    if not hasattr(logits, "shape") or logits.ndim < 2 or len(logits) != num_rows(x):
        found = f"[{', '.join(map(str, logits.shape))}]" if hasattr(logits, "shape") else type(logits).__name__
        raise ValueError(
            f"module={type(module).__name__} returns {found} for {num_rows(x)} rows: expected one array [n, C]; what "
            "else it computes goes out by `self.sow('extras', name, value)`"
        )
    features = sown.get("intermediates", {}).get("features")
    extras = {name: value[0] for name, value in sown.get("extras", {}).items()}
    return Outputs(logits, None if features is None else features[0].reshape(len(features[0]), -1), extras)


def features_of(outputs: Outputs, module: nn.Module) -> Float[Array, "n D"]:
    """`outputs.features`; ValueError when the network names none."""
    if outputs.features is None:
        raise ValueError(
            f"module={type(module).__name__} names no `features`: expected self.sow('intermediates', 'features', h) of "
            "what enters its last layer"
        )
    return outputs.features


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
    """Whether `module` asks for random numbers when its training switch is on. Traces, computes nothing."""

    def applied(network: nn.Module, x: Inputs, **given: Any) -> Any:
        return network.apply({"params": params}, x, **given)

    try:
        jax.eval_shape(lambda x: switched(applied, module, x, train=True), x)
    except flax.errors.InvalidRngError:
        return True
    return False
