"""The posterior that a campaign ends with: for predictions, in memory or from a results folder."""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from al_jax.campaign.store import StoreError, write_bytes
from al_jax.engine.learning import functions_of
from al_jax.pool import stream
from al_jax.sweep import UNSWEPT, Recipe, at
from al_jax.types import Inputs, Posterior, PRNGKey

FILE = "model.msgpack"


class Model(NamedTuple):
    """A posterior, and its state as it was fitted to the last labels of one seed."""

    posterior: Posterior
    state: Any

    def predict(self, inputs: Inputs, num_samples: int = 50, key: PRNGKey | None = None, chunk_size: int = 128) -> Any:
        """What K = `num_samples` draws say of rows `inputs [n, ...]`: the likelihood's predictions, as NumPy arrays.

        `Predictions(log_probs [n, K, C], point [n, C], features [n, D], extras)`, in nats, or `GaussianPredictions`.
        `key` makes the draws, `jax.random.key(0)` by default. Compiled once for each number of rows. ValueError for no
        rows, and for sizes below 1.
        """
        rows = len(jax.tree.leaves(inputs)[0])
        for name, value in (("rows", rows), ("num_samples", num_samples), ("chunk_size", chunk_size)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
        key = jax.random.key(0) if key is None else key
        found = _predict(self.posterior, num_samples, chunk_size, key, self.state, jax.tree.map(jnp.asarray, inputs))
        return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _predict(posterior: Posterior, num_samples: int, chunk_size: int, key: PRNGKey, state: Any, inputs: Inputs) -> Any:
    functions = functions_of(posterior, state, posterior.sample(key, state, num_samples))
    rows = jnp.arange(len(jax.tree.leaves(inputs)[0]))
    return stream(lambda x, _: functions(x), inputs, rows, chunk_size)


def save(directory: Path, inputs: Inputs, fitted: Any) -> None:
    """Keep the states `fitted [S, ...]` of all seeds, and the shape of a row of `inputs`, in a results folder."""
    row = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape[1:]), leaf.dtype), inputs)
    tree = {"row": serialization.to_state_dict(row), "states": serialization.to_state_dict(fitted)}
    write_bytes(directory / FILE, serialization.msgpack_serialize(jax.tree.map(np.asarray, tree)))


def read(directory: Path, posterior: Posterior | None, index: int, values: Mapping[str, float] = UNSWEPT) -> Model:
    """The model of the repetition of this index, which ran with the swept `values`.

    Its `posterior` is by default made again from the folder's `config.json`.

    StoreError when no model was kept, or when it is of another posterior.
    """
    path = directory / FILE
    if not path.exists():
        raise StoreError(f"{directory} has no {FILE}: a campaign keeps its model when it is run with keep_model=True")
    kept = serialization.msgpack_restore(path.read_bytes())
    posterior = at(recorded_recipe(directory), values) if posterior is None else posterior
    like = jax.eval_shape(posterior.init, jax.random.key(0), kept["row"])
    states = serialization.from_state_dict(like, kept["states"])
    shapes = [
        jax.tree.map(lambda leaf, first=first: (leaf.shape[first:], str(leaf.dtype)), tree)
        for first, tree in enumerate((like, states))
    ]
    if shapes[0] != shapes[1]:
        raise StoreError(f"{path} is of another posterior: expected the one that the campaign was run with")
    return Model(posterior, jax.tree.map(lambda leaf: leaf[index], states))


def recorded_recipe(directory: Path) -> Recipe:
    """The posterior of a run of `experiments.run`, or a function of swept numbers, from its texts.

    Its data are loaded, for they set the network.

    StoreError when the folder has no such texts, or an imported file has changed since.
    """
    from al_jax import vocabulary  # it knows all of the package

    config = json.loads((directory / "config.json").read_text())
    kinds = ("posterior", "network", "training", "likelihood", "data")
    if missing := [kind for kind in kinds if kind not in config]:
        raise StoreError(f"{directory / 'config.json'} has no {missing[0]}: give model() the posterior of the campaign")
    for path, known in config.get("imports", {}).items():
        file = Path(path).expanduser()
        if known != "module" and (not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != known):
            raise StoreError(f"{path} is not the file that the run imported: expected one with the hash {known[:12]}")
    more = vocabulary.with_names(*map(vocabulary.imported, config.get("imports", {})))
    posterior, network, training, likelihood, data = (config[kind] for kind in kinds)
    texts = posterior, vocabulary.dataset(data, more), network, training, likelihood
    return vocabulary.recipe(*texts, more, config.get("sweep", ()))[0]
