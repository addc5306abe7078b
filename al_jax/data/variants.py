"""Harder pools. Every variant changes the pool alone: the test and validation splits stay as they are."""

from collections.abc import Sequence

import jax
import numpy as np

from al_jax.data.dataset import Dataset, num_classes, original_rows_of, take_pool


def repeated(dataset: Dataset, copies: int = 3, noise: float = 0.1, seed: int = 0) -> Dataset:
    """The pool `copies` times, float32: copy k of row i is row k * N + i, plus isotropic Gaussian noise.

    `noise` is its standard deviation in the units of the raw inputs; every row has its own fixed draw, and nothing is
    clipped. The Repeated MNIST of Kirsch et al. (2019), BatchBALD, has 0.1 in normalised units, which is
    noise=.1*.3081*255 for the raw uint8 images.

    ValueError unless copies >= 1, noise is finite and >= 0, and the inputs are one array (no noise on a mask).
    """
    if copies < 1:
        raise ValueError(f"copies={copies}: expected at least 1")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise={noise}: expected a finite standard deviation >= 0")
    leaves, structure = jax.tree.flatten(dataset.inputs)
    if len(leaves) != 1:
        raise ValueError(f"inputs has {len(leaves)} arrays: expected 1, to which noise can be added")
    rows = np.random.default_rng(seed).standard_normal((copies, *leaves[0].shape), np.float32)
    rows *= np.float32(noise)  # in place: the pool may be large
    rows += leaves[0].astype(np.float32)
    return dataset._replace(
        name=f"{dataset.name} repeated={copies}",
        inputs=jax.tree.unflatten(structure, [rows.reshape(-1, *leaves[0].shape[1:])]),
        labels=np.tile(dataset.labels, copies),
        rows=np.tile(original_rows_of(dataset), copies),
    )


def imbalanced(dataset: Dataset, share: float, classes: Sequence[int], seed: int = 0) -> Dataset:
    """Keep a random `share` of the pool rows of each of `classes`, rounded, and at least one; the others all stay.

    So do initial rows.

    ValueError unless 0 <= share <= 1 and every one of `classes` has a row in the pool, and for a regression.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: expected 0..1")
    num_classes(dataset)
    generator, keep = np.random.default_rng(seed), np.ones(len(dataset.labels), bool)
    rare = sorted(set(classes))
    for c in rare:
        rows = generator.permutation(np.flatnonzero(dataset.labels == c))
        if not len(rows):
            raise ValueError(f"classes={list(classes)}: class {c} has no row in the pool")
        keep[rows[max(1, round(share * len(rows))) :]] = False
    if dataset.initial is not None:
        keep[dataset.initial] = True
    kept = np.flatnonzero(keep)
    name = f"{dataset.name} imbalanced={share} classes={','.join(map(str, rare))}"
    return take_pool(dataset, kept)._replace(name=name)


def noisy_labels(dataset: Dataset, rate: float, seed: int = 0) -> Dataset:
    """Symmetric label noise: with probability `rate`, the oracle answers another class, uniformly among the others.

    The noise is fixed: asked again, the oracle answers the same. With one seed, a higher rate keeps the wrong answers
    of a lower one. ValueError unless 0 <= rate <= 1 and there are two classes or more.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate}: expected 0..1")
    classes = num_classes(dataset)
    if classes < 2:
        raise ValueError(f"num_classes={classes}: expected at least 2, for another class to exist")
    generator, size = np.random.default_rng(seed), len(dataset.labels)
    wrong = generator.random(size) < rate
    others = (dataset.labels + generator.integers(1, classes, size)) % classes
    labels = np.where(wrong, others, dataset.labels).astype(np.int32)
    return dataset._replace(name=f"{dataset.name} noisy_labels={rate}", labels=labels)
