"""Fixed inputs: vectors of images and texts, made once without any label, and kept.

rotations: a small CNN learns by how many quarter turns an image was turned (Gidaris et al. 2018), on 20 000 images of
the pool. The vectors are the first 128 principal components of its first layer; as the paper found, later layers know
less of the classes. Accuracy of logistic regression on 10 000 of them: Fashion-MNIST 86 % (on as many components of the
pixels 83 %), CIFAR-10 45 % (37 %).
latent_semantics: TF-IDF of words and pairs of words in the pool's texts, and its first 128 singular vectors.
"""

import functools
import hashlib
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path

import filelock
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from al_jax import vocabulary
from al_jax.likelihood import categorical
from al_jax.models.forward import forward_rows
from al_jax.models.layers import Conv, max_pool
from al_jax.pool import stream
from al_jax.posteriors import point
from al_jax.training import Training, adam
from al_jax.types import Data, Labelled

IMAGES, STEPS, WIDTH = 20_000, 3_000, 128
TEXTS = {"trec": ("text", "label-coarse")}
"""Of the text sets of TFDS that do not say so themselves: which field is the text, and which the label."""
POOL, TEST = 10_000, 5_000
"""Rows that are kept, at most."""


class Turns(nn.Module):
    """Says by how many quarter turns an image was turned; its features are those of the first layer."""

    mean: float
    std: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits [n, 4]."""
        x = (x - self.mean) / self.std
        x = nn.relu(max_pool(Conv(32, (5, 5), padding="VALID")(x)))
        self.sow("intermediates", "features", x.reshape(len(x), -1))
        x = nn.relu(max_pool(Conv(64, (5, 5), padding="VALID")(x)))
        return nn.Dense(4)(nn.relu(nn.Dense(128)(x.reshape(len(x), -1))))


@functools.cache
def recipe(encoder: str) -> str:
    """A hash of what an encoder does."""
    parts = [inspect.getsource(part) for part in (ENCODERS[encoder], Turns, turned, kept)]
    sizes = IMAGES, STEPS, WIDTH, POOL, TEST
    return hashlib.sha256("".join([*parts, repr(sizes)]).encode()).hexdigest()[:8]


def encoded(data: str, encoder: str) -> str:
    """The .npz file with the vectors, as `data.features` reads it; it is made where it is not there yet.

    It lies in $AL_JAX_CACHE/atlas (~/.cache/al_jax/atlas when unset), and its name has a hash of the recipe.
    """
    root = Path(os.environ.get("AL_JAX_CACHE") or "~/.cache/al_jax").expanduser() / "atlas"
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{re.sub(r'[^a-z0-9]+', '_', data).strip('_')}_{encoder}_{recipe(encoder)}.npz"
    with filelock.FileLock(path.with_suffix(".lock")):  # of two shards one makes it, and the other waits
        if not path.exists():
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, **ENCODERS[encoder](data))  # type: ignore[arg-type]  # arrays' names, not its options
            partial.replace(path)
    return str(path)


def turned(images: jax.Array, quarters: jax.Array) -> jax.Array:
    """Square images [n, h, h, c], each turned by its number of quarter turns."""
    return jax.vmap(lambda image, k: jax.lax.switch(k, [lambda x, k=k: jnp.rot90(x, k) for k in range(4)], image))(
        images, quarters
    )


def kept(inputs: np.ndarray, labels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows, always the same ones."""
    rows = np.sort(np.random.default_rng(0).permutation(len(labels))[:size])
    return inputs[rows], labels[rows]


def rotations(data: str) -> dict[str, np.ndarray]:
    """Vectors of an image set by a network that never saw a label of it."""
    found = vocabulary.dataset(data)
    images, _ = kept(np.asarray(found.inputs), found.labels, IMAGES)
    quarters = np.random.default_rng(1).integers(4, size=len(images))
    rows = jax.jit(turned)(jnp.asarray(images), jnp.asarray(quarters))
    size = len(images)
    known = Labelled(rows, jnp.asarray(quarters), jnp.ones(size), jnp.arange(size), jnp.asarray(size))
    network = Turns(float(images.mean()), float(images.std()))
    posterior = point(network, categorical(), Training(adam(1e-3), steps=STEPS, minibatch_size=64))
    start = posterior.init(jax.random.key(0), known.inputs)
    params, _ = jax.jit(posterior.fit)(jax.random.key(1), start, Data(known))

    @jax.jit
    def vectors(x: jax.Array) -> jax.Array:
        return stream(lambda c, _: forward_rows(network, params, c).features, x, jnp.arange(len(x)), 128)

    def at_once(x: np.ndarray) -> np.ndarray:
        return np.asarray(vectors(jnp.asarray(x)))

    pool, test = kept(np.asarray(found.inputs), found.labels, POOL), kept(found.test_inputs, found.test_labels, TEST)
    wide, wide_test = at_once(pool[0]), at_once(test[0])
    components = PCA(WIDTH, random_state=0).fit(wide[:5000])
    return {
        "inputs": components.transform(wide),
        "labels": pool[1],
        "test_inputs": components.transform(wide_test),
        "test_labels": test[1],
    }


def latent_semantics(data: str) -> dict[str, np.ndarray]:
    """Vectors of a text set of TFDS."""
    import tensorflow_datasets as tfds
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    text, label = TEXTS[data]
    builder = tfds.builder(data)

    def rows(split: str) -> tuple[list[str], np.ndarray]:
        source = builder.as_data_source(split=split)
        found = source.__getitems__(range(len(source)))
        return [row[text].decode() for row in found], np.array([row[label] for row in found])

    (texts, labels), (test_texts, test_labels) = rows("train"), rows("test")
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    counted = words.fit_transform(texts)
    svd = TruncatedSVD(WIDTH, random_state=0).fit(counted)
    return {
        "inputs": svd.transform(counted),
        "labels": labels,
        "test_inputs": svd.transform(words.transform(test_texts)),
        "test_labels": test_labels,
    }


ENCODERS: dict[str, Callable[[str], dict[str, np.ndarray]]] = {
    "rotations": rotations,
    "latent_semantics": latent_semantics,
}
