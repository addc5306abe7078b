"""Networks that start from an encoder's parameters instead of random ones, and are trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization, traverse_util
from jaxtyping import Array

from al_jax.types import Inputs, Posterior, PRNGKey


def pretrained(posterior: Posterior, params: str | Mapping[str, Any]) -> Posterior:
    """`posterior`, whose networks start from `params` wherever name and shape are the same.

    The last layer stays random. Every round starts from them anew, and so does every member of
    `ensemble(pretrained(point, ...), 5)`.

    Args:
      posterior: one whose state is a network's parameters, `point` or `mc_dropout`.
      params: of the same network with other outputs, such as `al_jax.pretraining.encoder(...).params`, or the file that
        `Encoder.save` wrote.

    `init` raises ValueError when no parameter has the name and shape of one of `params`; the constructor when the file
    is none or cannot be read.
    """
    given = _read(params) if isinstance(params, str) else dict(params)
    start = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(given).items()}

    def init(key: PRNGKey, x: Inputs) -> Any:
        fresh = posterior.init(key, x)
        flat = traverse_util.flatten_dict(fresh)
        known = {path for path, leaf in flat.items() if path in start and start[path].shape == leaf.shape}
        if not known:
            here, there = (
                ", ".join("/".join(map(str, path)) + str(list(leaf.shape)) for path, leaf in tree.items())
                for tree in (flat, start)
            )
            raise ValueError(f"no parameter of the network ({here}) has name and shape of one of params ({there})")

        def chosen(path: tuple[str, ...], leaf: Array) -> Array:
            return jnp.asarray(start[path], leaf.dtype) if path in known else leaf

        return traverse_util.unflatten_dict({path: chosen(path, leaf) for path, leaf in flat.items()})

    return posterior._replace(init=init)


def _read(path: str) -> dict[str, Any]:
    """The parameters that `Encoder.save` wrote."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"params={path} is not a file; expected what Encoder.save wrote")
    try:
        found = serialization.msgpack_restore(file.read_bytes())
    except (TypeError, ValueError) as error:
        raise ValueError(f"params={path} cannot be read ({error}): expected what Encoder.save wrote") from error
    return jax.tree.map(np.asarray, found)
