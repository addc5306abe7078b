"""Whether a network returns probabilities, where logits are expected."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from al_jax.memo import memoised
from al_jax.models.switch import switched
from al_jax.types import Inputs, PRNGKey

SHAPING = {"convert_element_type", "copy", "reshape", "squeeze", "broadcast_in_dim", "transpose", "stop_gradient"}


def ends_in_softmax(module: nn.Module, x: Inputs) -> bool:
    """Whether what `module` returns for rows like `x [n, ...]` is a softmax. Traces it once, computes nothing."""
    leaves, structure = jax.tree.flatten(x)
    return _ends_in_softmax(module, tuple((leaf.shape, jnp.result_type(leaf)) for leaf in leaves), structure)


@memoised
def _ends_in_softmax(module: nn.Module, leaves: tuple[Any, ...], structure: Any) -> bool:
    row = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])

    def returned(key: PRNGKey, x: Inputs) -> Any:
        def run(network: nn.Module, x: Inputs, **given: Any) -> Any:
            return network.init_with_output({"params": key}, x, **given)[0]

        return switched(run, module, x, train=False)

    program = jax.make_jaxpr(returned)(jax.random.key(0), row).jaxpr
    division = _maker(program, program.outvars[0])
    if division is None or division[1].primitive.name != "div":
        return False
    above, below = (_maker(division[0], operand) for operand in division[1].invars)
    names = [None if maker is None else maker[1].primitive.name for maker in (above, below)]
    return names == ["exp", "reduce_sum"]


def _maker(program: Any, variable: Any) -> tuple[Any, Any] | None:
    """The program and its equation that computes a variable, beyond changes of shape and type; None for an argument."""
    for equation in program.eqns:
        if variable not in equation.outvars:
            continue
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if inner is not None:
            inner = getattr(inner, "jaxpr", inner)
            return _maker(inner, inner.outvars[equation.outvars.index(variable)])
        if equation.primitive.name in SHAPING:
            return _maker(program, equation.invars[0])
        return program, equation
    return None
