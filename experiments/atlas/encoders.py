"""Fixed inputs of texts: vectors made once without any label, and kept. Images are encoded by `self_supervised`.

latent_semantics: TF-IDF of words and pairs of words in the pool's texts, and its first 128 singular vectors.
"""

import hashlib
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np

WIDTH = 128
TEXTS = {"trec": ("text", "label-coarse")}
"""Of the text sets of TFDS that do not say so themselves: which field is the text, and which the label."""


def recipe(encoder: str) -> str:
    """A hash of what an encoder does."""
    return hashlib.sha256(f"{inspect.getsource(ENCODERS[encoder])}{WIDTH}".encode()).hexdigest()[:8]


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


ENCODERS: dict[str, Callable[[str], dict[str, np.ndarray]]] = {"latent_semantics": latent_semantics}
