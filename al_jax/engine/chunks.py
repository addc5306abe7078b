"""How many rows to predict at a time: as many as stay in a CPU's cache, or as fill an accelerator."""

import math
from typing import Any

import jax

from al_jax.types import Inputs, Posterior

CACHE = 8 << 20
"""Bytes of the largest array of a chunk on a CPU. Measured: with 10 or 20 samples of BatchBALD's network, 5 MB are
scored twice as fast as 10 MB."""
DEVICE = 1 << 30
"""The same on an accelerator, whose memory bounds it."""


def automatic(posterior: Posterior, inputs: Inputs, num_samples: int) -> int:
    """A chunk size for predictions with K = `num_samples`: a power of two, 8 to 128 on a CPU, 32 to 8192 elsewhere."""
    low, high, budget = (8, 128, CACHE) if jax.default_backend() == "cpu" else (32, 8192, DEVICE)
    fitting = budget // max(bytes_of_row(posterior, inputs, num_samples), 1)
    return max(low, min(high, 1 << fitting.bit_length() >> 1))


def bytes_of_row(posterior: Posterior, inputs: Inputs, num_samples: int) -> int:
    """Bytes that one more row of `inputs [n, ...]` adds to an array of the prediction, at most; computes nothing."""
    one, two = abstract_rows(inputs, 1), abstract_rows(inputs, 2)
    state, draws = abstract(posterior, one, num_samples)

    def sizes(rows: Inputs) -> list[int]:
        traced = jax.make_jaxpr(posterior.predict)(state, draws, rows)
        outputs = [variable.aval for equation in traced.eqns for variable in equation.outvars]
        return [math.prod(array.shape) * array.dtype.itemsize for array in outputs]

    return max(more - less for more, less in zip(sizes(two), sizes(one), strict=True))


def abstract_rows(inputs: Inputs, number: int) -> Inputs:
    """Shapes and types of so many rows."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((number, *leaf.shape[1:]), leaf.dtype), inputs)


def abstract(posterior: Posterior, row: Inputs, num_samples: int) -> tuple[Any, Any]:
    """Shapes and types of a state of the posterior, and of K = `num_samples` draws."""
    key = jax.random.key(0)
    state = jax.eval_shape(posterior.init, key, row)
    return state, jax.eval_shape(lambda k, s: posterior.sample(k, s, num_samples), key, state)
