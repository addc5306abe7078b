"""What compiling costs: the quickstart's campaigns in fresh processes, with an empty persistent cache and a full one.

A process compiles a campaign of BALD first (`learn`, `choose`, and what starts and ends a round), then one of each of
the others, which finds `learn` again. The same process once more, with the cache that the first one filled, reads
everything from the disk. Expected: nearly all of the first is `learn`; a further acquisition needs `choose` alone,
whose size is that of its scoring; a warm cache leaves tracing and lowering.
"""

import dataclasses
import multiprocessing
import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

ACQUISITIONS = ("bald", "random", "entropy", "mean_std", "core_set", "batchbald(1000)", "badge", "epig(100)")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    repeats: int = 3
    """Processes of either kind; the table has medians."""
    seeds: int = 8
    """Seeds of every campaign."""
    output: Path = Path(__file__).parent / "results" / "compilation.json"
    """Where the table goes."""


def compile_all(cache: str, seeds: int) -> dict[str, float]:
    """Seconds that each campaign compiles, one after the other; for a fresh process."""
    os.environ.pop("XLA_FLAGS", None)
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PLATFORMS": "cpu"}
    from al_jax import campaign
    from experiments import runner
    from experiments.experiment import Experiment, build, changed

    runner.configure_devices()
    seconds = {}
    for name in ACQUISITIONS:
        experiment = changed(Experiment(), acquisition=name, seeds=seeds, max_labels=30)
        built = build(experiment)
        done = campaign.run(built.posterior, built.acquisition, built.dataset, experiment.settings)
        seconds[name] = done.compile_seconds
    return seconds


def main(options: Options) -> None:
    """Measure, print the table and save it."""
    runs: dict[str, list[dict[str, float]]] = {"empty cache": [], "full cache": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for found in runs.values():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    found.append(pool.submit(compile_all, cache, options.seeds).result())
    medians = {
        kind: {name: statistics.median(run[name] for run in found) for name in ACQUISITIONS}
        for kind, found in runs.items()
    }
    table = Table(title=f"seconds to compile, {options.seeds} seeds of digits, median of {options.repeats}")
    for column in ("", *medians):
        table.add_column(column, justify="right" if column else "left")
    for number, name in enumerate(ACQUISITIONS):
        table.add_row(f"{'then' if number else 'first'} {name}", *(f"{of[name]:.2f}" for of in medians.values()))
    Console().print(table)
    write(options.output, {"machine": machine(PACKAGES), "seeds": options.seeds, "medians": medians, "runs": runs})


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.compilation", description=__doc__))
