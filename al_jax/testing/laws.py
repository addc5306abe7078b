"""What all laws are made of: a counterexample when one breaks, buffers with padding, lowering."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array

from al_jax.types import Inputs, Labelled

TOLERANCE = 1e-5


def lowered(function: Callable, *args: Any) -> str:
    """The program of `function` lowered for TPU and CUDA, as text; raises where an operation has no such lowering."""
    return export.export(jax.jit(function), platforms=("tpu", "cuda"))(*args).mlir_module()


def buffer(inputs: Inputs, labels: Array, padding: int, value: Array) -> Labelled:
    """A labelled buffer of these rows and `padding` slots that hold `value` (0 in integer arrays)."""

    def extend(leaf: Array) -> Array:
        fill = jnp.nan_to_num(value, nan=0.0) if not jnp.issubdtype(leaf.dtype, jnp.floating) else value
        return jnp.concatenate([leaf, jnp.broadcast_to(fill.astype(leaf.dtype), (padding, *leaf.shape[1:]))])

    count = len(labels)
    weights = jnp.ones(count + padding)
    rows = jnp.where(jnp.arange(count + padding) < count, jnp.arange(count + padding), -1)
    return Labelled(jax.tree.map(extend, inputs), extend(labels), weights, rows, jnp.asarray(count, jnp.int32))


def law(name: str, holds: bool | np.bool_, given: Any, got: Any) -> None:
    """AssertionError, with the law and the counterexample, unless it `holds`."""
    if not holds:
        raise AssertionError(f"broken law: {name}\n  given: {given}\n  got: {got}")


def close(name: str, got: Any, expected: Any, given: Any) -> None:
    """The law that `got` is `expected` up to `TOLERANCE`."""
    close = np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=False)
    law(name, close, given, f"{got} where {expected} was expected")


def same(a: Any, b: Any) -> bool:
    """Bitwise equality of two pytrees; NaN equals NaN."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(left, right, equal_nan=True) for left, right in pairs)


def finite(tree: Any) -> bool:
    """Whether no leaf has NaN or infinity."""
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))
