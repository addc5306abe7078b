"""How far off three sampled estimates of I(y_1..y_B; w) are, each given the same time.

B rows by K posterior samples, of the tables of `benchmarks.batchbald`: the batch that BatchBALD picks there. After M
draws, M / K of them with labels from each posterior sample, the reference sums -log p(y_1..y_B-1) and the entropies of
the last label (importance weighting the samples by one another, Kirsch et al. 2019): `importance`. Taking of the same M
configurations only the conditional entropies, E_m H[y_i | y_1..y_i-1 = m], bounds every term by log C:
`conditional`. al_jax keeps the heaviest configurations exactly and samples from strata of the others: `heaviest`.

The errors are root mean squares over keys, against the mean of `heaviest` with 20 M. An estimate's variance is about
inversely proportional to M and so to its time: the last column is the error that each would have in the time that
`heaviest` takes with the first M.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.batchbald import Case, predictions
from benchmarks.environment import machine, write

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
from jax import Array

from al_jax.acquisitions import batchbald
from al_jax.acquisitions.toolbox.configurations import conditional_entropies, extend, posterior_weights, start
from al_jax.information import entropy, log_mean_exp


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    rows: int = 2_000
    """Of the table that the batch is chosen from."""
    samples: int = 100
    """K."""
    batch: int = 8
    """B."""
    configurations: tuple[int, ...] = (1_000, 10_000)
    """M."""
    keys: int = 20
    """Repetitions of each."""
    output: Path = Path(__file__).parent / "results" / "joint_information.json"
    """Where the table goes."""


def blocks_of(beliefs: Array, row: Array, size: int = 1_000) -> Array:
    """H[y | m] of one row under all configurations [M], a block at a time."""
    parts = beliefs.reshape(-1, min(size, len(beliefs)), beliefs.shape[1])
    return jax.lax.map(lambda part: conditional_entropies(part, row[None])[:, 0], parts).reshape(-1)


def heaviest(key: Array, log_probs: Array, num_configurations: int) -> Array:
    """al_jax's estimate."""

    def step(configurations, row_and_number):
        row, number = row_and_number
        gain = jnp.matmul(
            configurations.weights, blocks_of(posterior_weights(configurations), row), precision="highest"
        )
        gain = gain - entropy(row).mean()
        return extend(jax.random.fold_in(key, number), configurations, row, number), gain

    begin = start(num_configurations, log_probs.shape[1])
    return jax.lax.scan(step, begin, (log_probs, jnp.arange(1, len(log_probs) + 1)))[1].sum()


def drawn(key: Array, log_probs: Array, num_configurations: int) -> Array:
    """log p(y_1..y_i = m | w_k) [B, M, K] of labels drawn from M / K repetitions of every posterior sample."""
    samples = jnp.arange(num_configurations) % log_probs.shape[1]
    labels = jax.random.categorical(key, log_probs[:, samples], axis=-1)  # [B, M]
    of_labels = jax.vmap(lambda row, chosen: row.T[chosen])(log_probs, labels)
    return jnp.cumsum(of_labels, axis=0)


def conditional(key: Array, log_probs: Array, num_configurations: int) -> Array:
    """The mean conditional entropies of labels after configurations drawn as they are likely."""
    before = drawn(key, log_probs, num_configurations)[:-1]
    of_first = entropy(log_mean_exp(log_probs[0], axis=0))
    of_others = jax.lax.map(lambda x: blocks_of(jax.nn.softmax(x[0]), x[1]).mean(), (before, log_probs[1:]))
    return of_first + of_others.sum() - entropy(log_probs).mean(1).sum()


def importance(key: Array, log_probs: Array, num_configurations: int) -> Array:
    """-log p(m) of the configurations of all rows but the last, whose labels are enumerated given each."""
    before = drawn(key, log_probs[:-1], num_configurations)[-1]
    of_last = blocks_of(jax.nn.softmax(before), log_probs[-1])
    return jnp.mean(of_last - log_mean_exp(before, axis=1)) - entropy(log_probs).mean(1).sum()


ESTIMATES: dict[str, Callable[[Array, Array, int], Array]] = {
    "importance": importance,
    "conditional": conditional,
    "heaviest": heaviest,
}


def main() -> None:
    """Measure all estimates, print the table, write it as JSON."""
    options = tyro.cli(Options, prog="python -m benchmarks.joint_information", description=__doc__)
    table = jnp.asarray(predictions(Case(options.rows, options.samples, 10, options.batch, 0)))
    chosen = batchbald().select(jax.random.key(0), None, table, jnp.ones(len(table), bool), options.batch)  # type: ignore[arg-type]
    batch, keys = table[chosen.indices], jax.random.split(jax.random.key(1), options.keys)
    exact = jax.jit(heaviest, static_argnums=2)
    truth = np.mean([exact(key, batch, 20 * options.configurations[1]) for key in keys[:5]])
    found = []
    for size in options.configurations:
        for name, estimate in ESTIMATES.items():
            compiled = jax.jit(estimate, static_argnums=2).lower(keys[0], batch, size).compile()
            values, seconds = [], []
            for key in keys:
                began = time.perf_counter()
                values.append(float(compiled(key, batch)))
                seconds.append(time.perf_counter() - began)
            error = float(np.sqrt(np.mean((np.array(values) - truth) ** 2)))
            found.append({"estimate": name, "configurations": size, "error": error, "seconds": min(seconds)})
    given = next(row["seconds"] for row in found if row["estimate"] == "heaviest")
    title = (
        f"I of {options.batch} rows, K = {options.samples}: {truth:.4f} nats (log K = {np.log(options.samples):.3f})"
    )
    shown = Table(title=title)
    for column in ("estimate", "M", "ms", "error, nats", f"error in {1e3 * given:.0f} ms"):
        shown.add_column(column, justify="left" if column == "estimate" else "right")
    for row in found:
        row["error_at_equal_time"] = row["error"] * np.sqrt(row["seconds"] / given)
        times = f"{1e3 * row['seconds']:.1f}"
        errors = (f"{row[name]:.5f}" for name in ("error", "error_at_equal_time"))
        shown.add_row(row["estimate"], f"{row['configurations']:,}", times, *errors)
    Console().print(shown)
    write(options.output, {"machine": machine(("jax", "jaxlib", "numpy")), "information": float(truth), "table": found})


if __name__ == "__main__":
    main()
