"""Batch methods on plain arrays, beside scikit-activeml on the same arrays, in one run.

N = 10 000 rows, D = 64 features, C = 10 classes, K = 10 draws, 100 labelled rows, b = 100. scikit-activeml's strategies
are given features and, where they want a classifier, one that looks the mean probabilities up. Then (`--large`)
N = 60 000 and D = 512, al_jax alone, each method in a process of its own so that its peak memory can be read.

What to expect. A pick of farthest-first reads N D floats: 2.6 MB at the small size, 123 MB at the large one, a
millisecond and some 15; a hundred picks 0.05 and 1.5 s. k-means has N D b multiply-adds an iteration, 0.13 and 6 GFLOP,
25 iterations at most. Methods that cover the pool compare all rows with all: 13 GFLOP and 3.7 TFLOP, a second and a
minute or two. scikit-activeml computes distances by scikit-learn, whole [N, N] matrices for ProbCover and MaxHerding,
in float64, and k-means from scratch.
"""

import dataclasses
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

METHODS = {
    "core_set": "CoreSet",
    "badge": "Badge",
    "typiclust": "TypiClust",
    "prob_cover(radius=8.0)": "ProbCover",
    "max_herding(bandwidth=8.0)": "MaxHerding",
    "top_k(margin)": None,
    "lcmd": None,
    "max_det": None,
    "kernel_kmeans_plus_plus": None,
    "k_means": None,
    "weighted_k_means": None,
    "clue": None,
    "cluster_margin": None,
    "u_herding(entropy, bandwidth=8.0)": None,
    "suggestive(entropy, 1000)": None,
    "mclu_ecbd": None,
    "k_medoids": None,
    "graph_density": None,
    "dal": None,
    "mutual_information": None,
    "kernel_bait": None,
    "kernel_frank_wolfe": None,
    "pre_clustering": None,
    "robust_core_set": None,
    "bait": None,
}
"""Ours, and scikit-activeml's strategy of the same method."""
SMALL_ALONE = ("robust_core_set", "bait")
"""Those that say of themselves that the large size is too large for them."""
SAME_PICKS = ("core_set", "prob_cover(radius=8.0)", "max_herding(bandwidth=8.0)")
"""Deterministic ones, of which the picks are compared."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    repeats: int = 3
    """Runs of every method after the first, which compiles; the table shows medians."""
    peers: bool = True
    """Run scikit-activeml, once a method."""
    large: bool = True
    """Run the large size, too."""
    only: tuple[str, ...] = ()
    """Methods to run, by default all; the others keep the numbers that the table has."""
    output: Path = Path(__file__).parent / "results" / "acquisitions.json"
    """Where the table goes."""


class Size(NamedTuple):
    """Of a pool."""

    rows: int
    width: int


SMALL, LARGE = Size(10_000, 64), Size(60_000, 512)
CLASSES, DRAWS, LABELLED, BATCH = 10, 10, 100, 100


def arrays(size: Size) -> dict[str, np.ndarray]:
    """Fifty blobs, and ten linear classifiers on them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, size.width))
    weights = rng.normal(size=(DRAWS, size.width, CLASSES)) * 1.6 / np.sqrt(size.width)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = (centres[rng.integers(50, size=count)] + rng.normal(size=(count, size.width))).astype(np.float32)
        logits = np.einsum("nd,kdc->nkc", x, weights)
        logits -= logits.max(-1, keepdims=True)
        return x, (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)

    features, log_probs = rows(size.rows)
    labelled_features, labelled_log_probs = rows(LABELLED)
    return {
        "features": features,
        "log_probs": log_probs,
        "labelled_features": labelled_features,
        "labelled_log_probs": labelled_log_probs,
    }


def ours(name: str, size: Size, repeats: int) -> dict[str, Any]:
    """Seconds of the first call and of the later ones, peak memory of this process, and the picks."""
    import jax
    import jax.numpy as jnp

    from al_jax import vocabulary
    from al_jax.acquisitions import acquire

    given = {key: jnp.asarray(array) for key, array in arrays(size).items()}
    acquisition, seconds, picks = vocabulary.acquisition(name), [], np.zeros(0)
    for repeat in range(repeats + 1):
        began = time.perf_counter()
        found = jax.block_until_ready(acquire(acquisition, batch_size=BATCH, key=jax.random.key(repeat), **given))
        seconds.append(time.perf_counter() - began)
        picks = np.asarray(found.indices)
    return {
        "first_seconds": seconds[0],
        "seconds": statistics.median(seconds[1:]),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "picks": picks.tolist(),
    }


def theirs(name: str) -> dict[str, Any]:
    """scikit-activeml's strategy on the same arrays: seconds of one query, and its picks."""
    from skactiveml import pool as strategies
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.utils import MISSING_LABEL

    given = arrays(SMALL)
    X = np.concatenate([given["labelled_features"], given["features"]]).astype(np.float64)
    p = np.exp(np.concatenate([given["labelled_log_probs"], given["log_probs"]])).mean(1)
    y = np.full(len(X), MISSING_LABEL)
    y[:LABELLED] = p[:LABELLED].argmax(1)

    class LookedUp(SkactivemlClassifier):
        """Predictions of the rows that are given, by their place."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LookedUp":
            self.classes_ = np.arange(CLASSES)
            return self

        def predict_proba(self, X: Any) -> np.ndarray:
            return p[-len(X) :]

    options: dict[str, Any] = {
        "ProbCover": {"deltas": [8.0], "n_classes": CLASSES},
        "MaxHerding": {"normalize_samples": False, "metric_dict": {"gamma": 1 / 64}},
    }.get(name, {})
    strategy = getattr(strategies, name)(random_state=0, **options)
    arguments: dict[str, Any] = {"X": X, "y": y, "batch_size": BATCH}
    if name == "Badge":
        arguments |= {"clf": LookedUp(classes=range(CLASSES)), "fit_clf": True}
    began = time.perf_counter()
    picks = strategy.query(**arguments)
    return {"seconds": time.perf_counter() - began, "picks": (np.asarray(picks) - LABELLED).tolist()}


def alone(function: Any, *args: Any) -> Any:
    """In a fresh process, so that memory and compilation are its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def main(options: Options) -> None:
    """Measure, print the tables and save them."""
    console, rows = Console(width=140), []
    before = json.loads(options.output.read_text())["table"] if options.only else []
    there = {row["method"]: row for row in before}
    for name, peer in METHODS.items():
        if options.only and name not in options.only:
            rows += [there[name]] if name in there else []
            continue
        row: dict[str, Any] = {"method": name, "small": alone(ours, name, SMALL, options.repeats)}
        if options.peers and peer is not None:
            row["peer"], found = peer, alone(theirs, peer)
            row["peer_seconds"] = found["seconds"]
            row["ratio"] = found["seconds"] / row["small"]["seconds"]
            if name in SAME_PICKS:
                row["same_first_picks"] = same(row["small"]["picks"], found["picks"])
        if options.large and name not in SMALL_ALONE:
            row["large"] = alone(ours, name, LARGE, 1)
        rows.append(row)
        console.print(f"[dim]{json.dumps({k: v for k, v in row.items() if k not in ('small', 'large')})}")
    packages = ("jax", "jaxlib", "numpy", *(("scikit-activeml", "scikit-learn") if options.peers else ()))
    console.print(render(rows))
    for row in rows:
        for size in ("small", "large"):
            row.get(size, {}).pop("picks", None)
    write(options.output, {"machine": machine(packages), "batch": BATCH, "labelled": LABELLED, "table": rows})


def same(ours: list[int], theirs: list[int]) -> int:
    """How many of the first picks are the same, one after the other."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), len(ours))


def render(rows: list[dict[str, Any]]) -> Table:
    """As it is printed."""
    table = Table(title=f"b = {BATCH} of 10 000 x 64 and of 60 000 x 512, seconds")
    for column in ("method", "10 000 x 64", "first call", "scikit-activeml", "ratio", "same first picks"):
        table.add_column(column, justify="left" if column == "method" else "right")
    table.add_column("60 000 x 512", justify="right")
    table.add_column("peak GB", justify="right")
    for row in rows:
        small, large = row["small"], row.get("large")
        table.add_row(
            row["method"],
            f"{small['seconds']:.3f}",
            f"{small['first_seconds']:.1f}",
            f"{row['peer']} {row['peer_seconds']:.1f}" if "peer" in row else "",
            f"{row['ratio']:.0f}" if "ratio" in row else "",
            str(row.get("same_first_picks", "")),
            f"{large['seconds']:.1f}" if large else "",
            f"{large['peak_gb']:.1f}" if large else "",
        )
    return table


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.acquisitions", description=__doc__))
