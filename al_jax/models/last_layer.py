"""The last dense layer of any Flax module, and the features that enter it."""

from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.models.forward import Outputs, forward
from al_jax.models.layers import Gaussian, VariationalDense
from al_jax.types import Inputs

Path: TypeAlias = tuple[str, ...]
"""Where a layer stands in a network's parameters, such as `("Dense_2",)`."""
HEADS = (nn.Dense, VariationalDense)
UNCHANGED = {"convert_element_type", "copy"}  # what may follow the last layer


class Split(NamedTuple):
    """A network for n rows, as a linear layer on what enters it: `outputs.logits = inputs @ stacked(params, path)`."""

    outputs: Outputs
    inputs: Float[Array, "n D"]  # a column of ones at the end when the layer has a bias


def last_layer(module: nn.Module, params: Any, x: Inputs, kinds: tuple[type[nn.Module], ...] = (nn.Dense,)) -> Path:
    """Where the layer of one of these `kinds` stands whose output is the output of `module` for `x [n, ...]`.

    Traces, computes nothing. ValueError when there is none: when something other than a change of dtype comes after the
    last one, or when it is applied to more than a vector a row.
    """
    seen: list[tuple[Path, Any, Any]] = []
    jax.eval_shape(lambda p, rows: _applied(module, p, rows, seen, kinds=kinds), params, x)
    remedy = "let it end in flax.linen.Dense(num_outputs)"
    if not seen:
        raise ValueError(f"module={type(module).__name__} has no flax.linen.Dense to be its last layer: {remedy}")
    path, inputs, output = seen[-1]
    if inputs.ndim != 2:
        raise ValueError(f"{'/'.join(path)} is applied to {inputs.shape}, not to a vector a row: {remedy}")

    def after(output: Array) -> Array:
        return _applied(module, params, x, [], path, output, kinds).logits

    program = jax.make_jaxpr(after)(jax.ShapeDtypeStruct(output.shape, output.dtype)).jaxpr
    reached = set(program.invars)
    for equation in program.eqns:
        if any(not hasattr(variable, "val") and variable in reached for variable in equation.invars):
            reached.update(equation.outvars if equation.primitive.name in UNCHANGED else ())
    if program.outvars[0] not in reached:
        raise ValueError(
            f"module={type(module).__name__} does not return what its last dense layer, {'/'.join(path)}, computes: "
            f"{remedy}"
        )
    return path


def forward_split(module: nn.Module, params: Any, x: Inputs) -> Split:
    """`forward_rows` that also returns what enters the last dense layer, for rows `x [n, ...]`."""

    def one(row: Inputs) -> Split:
        seen: list[tuple[Path, Any, Any]] = []
        outputs = _applied(module, params, jax.tree.map(lambda leaf: leaf[None], row), seen)
        path, inputs, _ = seen[-1]
        if "bias" in layer_at(params, path):
            inputs = jnp.concatenate([inputs, jnp.ones((1, 1), inputs.dtype)], axis=-1)
        return jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), Split(outputs, inputs))

    return jax.vmap(one)(x)


def head(module: nn.Module, params: Any, x: Inputs, features: Float[Array, "n D"]) -> Float[Array, "n C"]:
    """What the last layer of the deterministic network makes of `features`; Gaussian weights are at their mean.

    Rows `x [m, ...]` are only traced. ValueError when the network names no features, when its last layer is no dense
    layer, or when the features that it names are not what enters that layer.
    """
    name = type(module).__name__
    path = last_layer(module, params, x, HEADS)

    def both(x: Inputs) -> tuple[Array | None, Array]:
        seen: list[tuple[Path, Any, Any]] = []
        outputs = _applied(module, params, x, seen, kinds=HEADS)
        return outputs.features, seen[-1][1]

    program, (found, entering) = jax.make_jaxpr(both, return_shape=True)(x)
    if found is None:
        raise ValueError(
            f"module={name} names no `features`: expected self.sow('intermediates', 'features', h) of what enters its "
            "last layer"
        )
    named, given = program.jaxpr.outvars
    if found.shape != entering.shape or named is not given:
        raise ValueError(
            f"module={name} names features {list(found.shape)} that are not the inputs {list(entering.shape)} of its "
            f"last layer, {'/'.join(path)}: expected self.sow('intermediates', 'features', h) right before that layer"
        )
    layer = jax.tree.map(
        lambda leaf: leaf.mean if isinstance(leaf, Gaussian) else leaf,
        layer_at(params, path),
        is_leaf=lambda leaf: isinstance(leaf, Gaussian),
    )
    return jnp.matmul(features, layer["kernel"], precision="highest") + layer.get("bias", 0.0)


def layer_at(params: Any, path: Path) -> dict[str, Array]:
    """The parameters of one layer."""
    for name in path:
        params = params[name]
    return params


def stacked(params: Any, path: Path) -> Float[Array, "D C"]:
    """Kernel and bias of the layer in one matrix, the bias (where there is one) in the last row."""
    layer = layer_at(params, path)
    return jnp.concatenate([layer["kernel"], layer["bias"][None]]) if "bias" in layer else layer["kernel"]


def replaced(params: Any, path: Path, weights: Float[Array, "D C"]) -> Any:
    """The parameters with `weights`, as of `stacked`, in the layer."""
    if path:
        return {**params, path[0]: replaced(params[path[0]], path[1:], weights)}
    return {"kernel": weights[:-1], "bias": weights[-1]} if "bias" in params else {"kernel": weights}


def _applied(
    module: nn.Module,
    params: Any,
    x: Inputs,
    seen: list[tuple[Path, Any, Any]],
    replace: Path | None = None,
    output: Any = None,
    kinds: tuple[type[nn.Module], ...] = (nn.Dense,),
) -> Outputs:
    """`forward`, noting path, input and output of every dense layer; that at `replace` returns `output` instead."""

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        # the type itself: a subclass may compute something else
        if type(context.module) not in kinds or context.method_name != "__call__":
            return call(*args, **kwargs)
        result = output if context.module.path == replace else call(*args, **kwargs)
        seen.append((context.module.path, args[0], result))
        return result

    with nn.intercept_methods(note):
        return forward(module, params, x)
