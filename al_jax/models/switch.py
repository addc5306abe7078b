"""The training switch of any Flax module, whatever its author named it, and of its dropout layers.

The switch is an argument or an attribute with a name of `SWITCHES`. Layers of `flax.linen.Dropout` that are not told
otherwise follow it, so that networks without any switch, such as `nn.Sequential`, have it too.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from al_jax.models.layers import Dropout
from al_jax.types import Inputs

SWITCHES = {"train": True, "training": True, "is_training": True, "deterministic": False}
"""Names of the training switch, and its value while training."""
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
WITH_DROPOUT = nn.MultiHeadDotProductAttention


def switched(run: Callable[..., Any], module: nn.Module, x: Inputs, train: bool) -> Any:
    """`run(module, x [n, ...], ...)` with the training switch set, however the module has it, and 8-bit rows as floats.

    ValueError when the module needs other arguments, and when a dropout layer is told to stay off while training.
    """
    x = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype in (jnp.uint8, jnp.int8) else leaf, x)
    arguments = dict(list(inspect.signature(type(module).__call__).parameters.items())[2:])
    attributes = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    given = {}
    for name, value in SWITCHES.items():
        there = attributes.get(name, "absent")
        if isinstance(there, bool) or (there is None and name not in arguments):
            module = module.clone(**{name: value is train})  # type: ignore[arg-type]
        elif name in arguments:  # where it is an attribute, too, that is None
            given[name] = value is train
    missing = [
        name
        for name, argument in arguments.items()
        if name not in given and argument.default is argument.empty and argument.kind not in VARIADIC
    ]
    if missing:
        raise ValueError(
            f"module={type(module).__name__}: its __call__ needs the argument {missing[0]!r}; expected no other than "
            f"the rows and a switch named {' or '.join(SWITCHES)}"
        )
    with nn.intercept_methods(_switching(train)):
        return run(module, x, **given)


def _switching(train: bool) -> Callable[..., Any]:
    """Layers of dropout are off while predicting; while training, those are on that are not told otherwise."""

    def layer(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not isinstance(module, nn.Dropout | Dropout | WITH_DROPOUT):
            return call(*args, **kwargs)
        told = inspect.signature(type(module).__call__).bind(module, *args, **kwargs).arguments
        off = module.deterministic if told.get("deterministic") is None else told["deterministic"]
        if not train and not isinstance(module, WITH_DROPOUT):
            return told.get("inputs", told.get("x"))
        if off and train and getattr(module, "rate", 0) > 0:
            raise ValueError(
                f"{'/'.join(module.path) or type(module).__name__} stays off while the network trains: expected a "
                f"switch named {' or '.join(SWITCHES)}, or no such layer"
            )
        if off is None:
            del told["self"]
            return call(**(told | {"deterministic": not train}))
        return call(*args, **kwargs)

    return layer
