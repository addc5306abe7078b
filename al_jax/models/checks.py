"""What every network refuses when it is built."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from al_jax.sweep import known


def check_attributes(module: Any) -> None:
    """ValueError, naming the attribute, for what no network can have.

    Dropout is in [0, 1), mean a float32 and std a positive one, dtype floating, and every width at least 1.
    """
    largest, smallest = (float(bound) for bound in (np.finfo(np.float32).max, np.finfo(np.float32).tiny))
    if known(module.dropout) and not 0 <= module.dropout < 1:
        raise ValueError(f"dropout={module.dropout}: expected 0 or more and less than 1")
    if not abs(module.mean) <= largest:
        raise ValueError(f"mean={module.mean}: expected a finite float32")
    if not smallest <= module.std <= largest:
        raise ValueError(f"std={module.std}: expected a positive, finite float32")
    if module.dtype is not None and not _is_floating(module.dtype):
        raise ValueError(f"dtype={module.dtype!r}: expected 'bfloat16', 'float16' or 'float32'")
    widths = (*getattr(module, "hidden", ()), module.num_classes, getattr(module, "width", 1))
    if any(width < 1 for width in widths):
        name = "num_classes" if module.num_classes < 1 else "hidden" if hasattr(module, "hidden") else "width"
        raise ValueError(f"{name}={getattr(module, name)}: expected widths of at least 1")


def _is_floating(dtype: Any) -> bool:
    try:
        return jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        return False
