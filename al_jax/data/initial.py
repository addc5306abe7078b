"""The rows that are labelled before the first acquisition."""

import numpy as np
from jaxtyping import Int32, Shaped


def initial_rows(
    seed: int,
    labels: Shaped[np.ndarray, " N"],
    initial_labels: int,
    num_classes: int | None,
    balanced: bool = True,
    among: np.ndarray | None = None,
) -> Int32[np.ndarray, "{initial_labels}"]:
    """`initial_labels` distinct pool rows, a function of the seed alone: all acquisitions start from the same rows.

    Balanced: `initial_labels // num_classes` rows of every class, and one more of randomly chosen classes for the
    remainder (only of those that have one more). Otherwise, and for a regression (num_classes None), uniformly at
    random. `among` (bool [N]) restricts the choice to its rows.

    ValueError when `among` is no such mask; `initial_labels` is not in 0..number of rows to choose from; or, if
    balanced, when it is less than `num_classes` or a class has too few rows.
    """
    labels = np.asarray(labels)
    if among is not None and (among.dtype != bool or among.shape != labels.shape):
        raise ValueError(f"among is {among.dtype}{list(among.shape)}: expected bool{list(labels.shape)}")
    rows = np.arange(len(labels)) if among is None else np.flatnonzero(among)
    if not 0 <= initial_labels <= len(rows):
        raise ValueError(f"initial_labels={initial_labels}: expected 0..{len(rows)}, the rows to choose from")
    generator = np.random.default_rng(seed)
    if not balanced or num_classes is None:
        return generator.choice(rows, initial_labels, replace=False).astype(np.int32)
    if initial_labels < num_classes:
        raise ValueError(
            f"initial_labels={initial_labels}: an initial set without every class when balanced was asked; "
            f"expected num_classes={num_classes} or more, or balanced=False"
        )
    of_class = [rows[labels[rows] == c] for c in range(num_classes)]
    counts, (share, remainder) = np.array([len(r) for r in of_class]), divmod(initial_labels, num_classes)
    larger = np.flatnonzero(counts > share)
    needed = share if len(larger) >= remainder else share + 1
    if (counts < needed).any():
        short = ", ".join(f"class {c} has {counts[c]}" for c in np.flatnonzero(counts < needed))
        raise ValueError(
            f"initial_labels={initial_labels}: {short} rows to choose from; expected at least {needed} of every class, "
            "or balanced=False"
        )
    shares = np.full(num_classes, share)
    shares[generator.choice(larger, remainder, replace=False)] += 1
    chosen = [generator.choice(r, s, replace=False) for r, s in zip(of_class, shares, strict=True)]
    return generator.permutation(np.concatenate(chosen)).astype(np.int32)
