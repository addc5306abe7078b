"""Penalties on the parameters, beside the loss of the labels."""

import re
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.sweep import known

Params = Any


class Penalty(Protocol):
    """(params, count of labelled rows) -> scalar added to the mean loss."""

    def __call__(self, params: Params, count: Array, /) -> Array:
        """The penalty."""


@memoised
def l2(coefficient: float, *, over_count: bool = False, only: str = "") -> Penalty:
    """coefficient * sum of squares (no 1/2: the convention of Keras), of the parameters whose path matches `only`.

    `over_count=True` divides by the number of labelled rows: the decay c/N that a fixed prior asks for. `only` is a
    regular expression searched in paths such as `Dense_0/kernel`.
    """

    if known(coefficient) and not 0 <= coefficient < float("inf"):
        raise ValueError(f"coefficient={coefficient}: expected a finite number, 0 or more")
    try:
        re.compile(only)
    except re.error as error:
        raise ValueError(f"only={only!r}: expected a regular expression ({error})") from error

    def penalty(params: Params, count: Array) -> Array:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        chosen = [
            leaf for path, leaf in leaves if re.search(only, jax.tree_util.keystr(path, simple=True, separator="/"))
        ]
        if not chosen:
            raise ValueError(f"only={only!r} matches no parameter")
        total = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in chosen]).sum()
        return coefficient * total / (jnp.maximum(count, 1) if over_count else 1)

    return penalty
