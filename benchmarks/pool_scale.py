"""How proposing a batch scales with the pool: BALD over 10^4 to 10^7 rows, on the device and streamed from a file.

One seed, K = 100 samples of a small MLP with dropout (C = 10 classes), rows of 16 features of a byte. A round's fit is
one step and its test set one chunk, so that the seconds are those of scoring the pool and of choosing among the scores.
Every point is a fresh process (or several, joined), and its memory is the peak while batches are proposed above what
the process holds before, compiled and with a pool on the device already there. A file's pages count as memory of the
process that reads them: a pool on the host is part of that peak, and is subtracted. FLOPs are counted by XLA in the
program of one chunk, exponentials and logarithms not; the machine's peak is that of a matrix product, measured after
each point, of which the best counts.

Streaming should cost the same time and a constant memory, and either way the time should be linear in the rows.
"""

import dataclasses
import math
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

FEATURES, CLASSES, SAMPLES, BATCH, INITIAL = 16, 10, 100, 10, 20


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    sizes: tuple[int, ...] = (10**4, 10**5, 10**6, 10**7)
    """Rows of the pool."""
    pools: tuple[Literal["device", "host"], ...] = ("device", "host")
    """Where the pool is."""
    devices: tuple[int, ...] = (1,)
    """Devices of a process; more than one score parts of the pool (on a CPU they share its cores)."""
    processes: tuple[int, ...] = (1,)
    """Processes that score parts of the pool together."""
    repeats: int = 3
    """Rounds proposed at each point."""
    chunk_size: int = 128
    """Rows predicted at a time."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the network's hidden layers."""
    shortlist: int | None = None
    """Propose by BatchBALD among this many rows with the highest BALD, instead of by BALD."""
    output: Path = Path(__file__).parent / "results" / "pool_scale.json"
    """Where the table goes."""


class Point(NamedTuple):
    """One row of the table."""

    size: int
    pool: str
    devices: int
    processes: int


class Measured(NamedTuple):
    """What one process measured."""

    seconds: list[float]
    flops_per_row: float
    peak_flops: float  # a second, of a matrix product
    memory: int  # bytes, the peak above the baseline, without the pool


def write_pool(path: Path, size: int, seed: int = 0) -> None:
    """A file of `size` random rows, block by block."""
    generator, block = np.random.default_rng(seed), 10**6
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (size, FEATURES))
    for start in range(0, size, block):
        part = rows[start : start + block]
        part[...] = generator.integers(0, 256, part.shape, np.uint8)
    rows.flush()


def measure(point: Point, options: Options, path: Path, coordinator: str, index: int) -> Measured:
    """Run one point, as process `index` of `point.processes`; only here is JAX imported."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={point.devices}"
    import jax
    import jax.numpy as jnp
    import optax

    from al_jax.acquisitions import bald, batchbald, prefilter, top_k
    from al_jax.data import Dataset
    from al_jax.engine import parallel, processes
    from al_jax.engine.compiled import Compiled, compile_cycle
    from al_jax.engine.cycle import cycle, steps
    from al_jax.engine.host_pool import compile_host_pool
    from al_jax.engine.learning import Sizes
    from al_jax.likelihood import categorical
    from al_jax.models import MLP
    from al_jax.posteriors import mc_dropout
    from al_jax.sweep import Repetition
    from al_jax.training import Training

    if point.processes > 1:
        processes.connect(coordinator, point.processes, index, "another process of the benchmark is gone")
    posterior = mc_dropout(
        MLP(CLASSES, options.hidden, mean=127.5, std=74.0), categorical(), Training(optax.adam(1e-3), steps=1)
    )
    acquisition = prefilter(bald, options.shortlist, batchbald()) if options.shortlist else top_k(bald)
    alone = point.devices * point.processes == 1
    layout = parallel.layout(1, 1) if alone else parallel.pool_layout(1, 1, options.chunk_size, parallel.devices())
    pool = np.load(path, mmap_mode="r")

    def campaign(inputs: np.ndarray) -> Compiled:
        labels = np.arange(len(inputs), dtype=np.int32) % CLASSES
        test = np.array(inputs[: options.chunk_size])
        dataset = Dataset("rows", inputs, labels, test, labels[: len(test)], CLASSES)
        build: Any = steps if point.pool == "host" else cycle
        compile_pool: Any = compile_host_pool if point.pool == "host" else compile_cycle
        sizes = Sizes(BATCH, SAMPLES, INITIAL + BATCH, chunk_size=options.chunk_size)
        program = build(posterior, acquisition, categorical(), sizes, mesh=None if alone else layout.mesh)
        rows = np.arange(INITIAL, dtype=np.int32)[None]
        return compile_pool(program, dataset, [Repetition(0, {})], rows, BATCH, layout)

    compiled, seconds = campaign(pool[: point.size]), list[float]()
    forget_peak()
    baseline = peak_memory()
    for _ in range(options.repeats):
        began = time.perf_counter()
        compiled.propose(compiled.states)
        seconds.append(time.perf_counter() - began)
    memory = peak_memory() - baseline - (point.size * FEATURES if point.pool == "host" else 0)

    chunk = jnp.asarray(pool[: options.chunk_size])
    state = posterior.init(jax.random.key(0), chunk)
    draws = posterior.sample(jax.random.key(0), state, SAMPLES)
    scored = jax.jit(lambda state, draws, x: bald(posterior.predict(state, draws, x).log_probs))
    costs: Any = scored.lower(state, draws, chunk).compile().cost_analysis()
    peak = matrix_product_peak()
    if point.processes > 1:
        processes.leave(0, together=True)
    return Measured(seconds, costs["flops"] / len(chunk), peak, memory)


def matrix_product_peak(size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of the best of several float32 matrix products."""
    import jax
    import jax.numpy as jnp

    product, ones = jax.jit(jnp.matmul), jnp.ones((size, size))
    product(ones, ones).block_until_ready()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        product(ones, ones).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def forget_peak() -> None:
    """Let `peak_memory` begin anew, where the system can (Linux): compiling takes more than anything after it."""
    resets = Path("/proc/self/clear_refs")
    if resets.exists():
        resets.write_text("5")


def peak_memory() -> int:
    """Bytes, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(point: Point, options: Options, path: Path) -> dict[str, Any]:
    """A row of the table, measured in fresh processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    with ProcessPoolExecutor(point.processes, multiprocessing.get_context("spawn")) as executor:
        asked = [executor.submit(measure, point, options, path, coordinator, i) for i in range(point.processes)]
        measured = [future.result() for future in asked]
    first = measured[0]
    best = min(first.seconds)
    return point._asdict() | {
        "seconds": best,
        "seconds_median": statistics.median(first.seconds),
        "rows_per_second": point.size / best,
        "flops_per_row": first.flops_per_row,
        "flops_per_second": first.flops_per_row * point.size / best,
        "peak_flops": first.peak_flops,
        "memory": sum(one.memory for one in measured),
        "pool_bytes": point.size * FEATURES,
    }


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with its share of the best peak seen, and with the exponent of N since the next smaller pool."""
    grown, peak = [], max(row["peak_flops"] for row in rows)
    for row in rows:
        same = [r for r in rows if [r[k] for k in Point._fields[1:]] == [row[k] for k in Point._fields[1:]]]
        smaller = max((r for r in same if r["size"] < row["size"]), key=lambda r: r["size"], default=None)
        exponent = None
        if smaller is not None:
            exponent = math.log(row["seconds"] / smaller["seconds"]) / math.log(row["size"] / smaller["size"])
        grown.append(row | {"exponent": exponent, "share_of_peak": row["flops_per_second"] / peak})
    return grown


def render(rows: list[dict[str, Any]], title: str) -> Table:
    """The table as it is printed."""
    table = Table(title=title, caption="MB: peak while proposing, apart from the pool")
    columns = ("s best", "median", "us a row", "exponent of N", "rows/s", "GFLOP/s", "of peak", "MB", "MB of pool")
    for column in ("rows", "pool on", "devices", "processes", *columns):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['size']:.0e}",
            row["pool"],
            str(row["devices"]),
            str(row["processes"]),
            f"{row['seconds']:.3f}",
            f"{row['seconds_median']:.3f}",
            f"{row['seconds'] / row['size'] * 1e6:.2f}",
            "" if row["exponent"] is None else f"{row['exponent']:.2f}",
            f"{row['rows_per_second']:.0f}",
            f"{row['flops_per_second'] / 1e9:.1f}",
            f"{row['share_of_peak']:.0%}",
            f"{row['memory'] / 1e6:.0f}",
            f"{row['pool_bytes'] / 1e6:.0f}",
        )
    return table


def main(options: Options) -> None:
    """Measure, print the table and save it."""
    console = Console(width=max(Console().width, 150))
    rows = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.npy"
        write_pool(path, max(options.sizes))
        for processes in options.processes:
            for devices in options.devices:
                for pool in options.pools:
                    for size in options.sizes:
                        rows.append(run(Point(size, pool, devices, processes), options, path))
                        console.print(f"[dim]{rows[-1]}", soft_wrap=True)
    rows = compared(rows)
    what = "BALD" if options.shortlist is None else f"BatchBALD of the {options.shortlist} best by BALD,"
    console.print(render(rows, f"{what} with K = {SAMPLES}, {os.cpu_count()} cores, {options.repeats} repeats"))
    chosen = {name: value for name, value in dataclasses.asdict(options).items() if name != "output"}
    write(options.output, {"machine": machine(("jax", "jaxlib", "numpy")), "options": chosen, "table": rows})


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.pool_scale", description=__doc__))
