"""An encoder trained once on a pool without its labels, kept on disk by the rows' content and the recipe."""

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from jaxtyping import Array, Float

from al_jax.campaign.identity import described
from al_jax.campaign.store import write_bytes
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.models.auto import auto
from al_jax.models.forward import forward_rows
from al_jax.pool import stream
from al_jax.posteriors.point import point
from al_jax.pretraining.rotation import rotation
from al_jax.pretraining.simclr import simclr
from al_jax.training import Training
from al_jax.types import Data, Inputs, Labelled

VERSION = 1
"""Of what an encoder is made by: another one is another file."""
PROJECTION = 64
"""Outputs of a network that SimCLR trains."""
CHUNK = 128


class Encoder(NamedTuple):
    """A network and its parameters; its features are the vectors."""

    module: nn.Module
    params: Any

    def embed(self, inputs: Inputs) -> Float[np.ndarray, "n D"]:
        """The features of rows `[n, ...]`."""
        rows = jnp.arange(len(jax.tree.leaves(inputs)[0]))
        return np.asarray(_embedded(self.module, self.params, jax.tree.map(jnp.asarray, inputs), rows))

    def save(self, path: str | Path) -> None:
        """Write the parameters, for `posteriors.pretrained`."""
        write_bytes(Path(path).expanduser(), serialization.to_bytes(jax.tree.map(np.asarray, self.params)))


@functools.partial(jax.jit, static_argnums=0)
def _embedded(module: nn.Module, params: Any, inputs: Inputs, rows: Array) -> Array:
    def features(x: Inputs, _: Array) -> Array:
        found = forward_rows(module, params, x).features
        if found is None:
            raise ValueError(f"network={type(module).__name__} names no features, which are the vectors")
        return found

    return stream(features, inputs, rows, CHUNK)


def encoder(
    dataset: Dataset,
    kind: Literal["simclr", "rotation"] = "simclr",
    steps: int = 500,
    minibatch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    network: nn.Module | None = None,
) -> Encoder:
    """An encoder that learned from the pool of `dataset` alone; trained now, or read where that was done before.

    It lies in $AL_JAX_CACHE/encoders (~/.cache/al_jax/encoders when unset), under a hash of the rows and of all other
    arguments.

    Args:
      dataset: its pool inputs; no label of it is looked at.
      kind: `simclr` or `rotation`.
      steps: of Adam, with a learning rate that falls as a cosine.
      minibatch_size: rows of a step; SimCLR compares each with all others.
      learning_rate: at the start.
      seed: of the initial parameters, the order of rows and their changes.
      network: a module with 64 (`simclr`) or 4 (`rotation`) outputs that names its features; by default that of `auto`.

    ValueError for an unknown kind or sizes below 1.
    """
    if kind not in ("simclr", "rotation"):
        raise ValueError(f"kind={kind!r}: expected 'simclr' or 'rotation'")
    for name, value in (("steps", steps), ("minibatch_size", minibatch_size)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    objective, outputs = (simclr(), PROJECTION) if kind == "simclr" else (rotation(), 4)
    inputs = dataset.inputs
    module = auto(**_of(inputs, outputs)) if network is None else network
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    training = Training(optax.adam(schedule), minibatch_size, steps, objective=objective)
    recipe = VERSION, kind, steps, minibatch_size, learning_rate, seed, described(module)
    digest = hashlib.sha256(repr(recipe).encode())
    for leaf in jax.tree.leaves(inputs):
        digest.update(np.ascontiguousarray(leaf).data)
    root = Path(os.environ.get("AL_JAX_CACHE") or "~/.cache/al_jax").expanduser() / "encoders"
    root.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "_", f"{dataset.name}_{kind}").strip("_")
    path = root / f"{name}_{digest.hexdigest()[:12]}.msgpack"
    start_key, fit_key = jax.random.split(jax.random.key(seed))
    posterior = point(module, categorical(), training)
    row = jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), inputs)
    with filelock.FileLock(path.with_suffix(".lock")):  # of two processes one trains, and the other waits
        if not path.exists():
            params = posterior.init(start_key, row)
            fitted, info = jax.jit(posterior.fit)(fit_key, params, _rows(inputs))
            if not info["finite"]:
                raise ValueError(f"learning_rate={learning_rate}: training diverged, expected a lower one")
            write_bytes(path, serialization.to_bytes(jax.tree.map(np.asarray, fitted)))
    like = jax.eval_shape(posterior.init, start_key, row)
    return Encoder(module, jax.tree.map(jnp.asarray, serialization.from_bytes(like, path.read_bytes())))


def _of(inputs: Inputs, outputs: int) -> dict[str, Any]:
    """What `auto` is told of the rows."""
    array = np.asarray(inputs)
    mean, std = float(array.mean()), float(array.std()) or 1.0
    return {"num_classes": outputs, "shape": array.shape[1:], "dropout": 0.0, "mean": mean, "std": std}


def _rows(inputs: Inputs) -> Data:
    """The rows as a buffer whose labels say nothing."""
    size = len(jax.tree.leaves(inputs)[0])
    arrays: Any = jnp.zeros(size, jnp.int32), jnp.ones(size), jnp.arange(size), jnp.asarray(size)
    return Data(Labelled(jax.tree.map(jnp.asarray, inputs), *arrays))
