"""The quickstart's campaigns with al_jax, with PyTorch and with baal, on this machine's CPU, in one run.

Digits (1297 pool and 500 test rows), MLP 64-128-128-10 with dropout 0.5, Adam at 1e-3 for 300 steps of 32 rows, K = 50
samples, 20 to 220 labels by 10: 21 rounds. A campaign is one seed of one acquisition: BALD, or a comparison of random,
entropy, margin and BALD. Every run is a process of its own, the contenders take turns, and all start from the same
rows. Imports and the loading of the data are not timed. PyTorch runs with one thread and with its default number, and
the faster of the two is quoted (the slower is run once).

What to expect. The 25 856 weights (8192 before the first dropout layer, 17 664 after it) cost a seed, in GFLOP:

- training: 21 rounds x 300 steps x 32 rows x 3 (forward, two products backward) x 2 x 25 856 = 31.3
- scoring: 21 x 1297 rows x 2 x (8192 + 50 x 17 664) = 48.6; first layer not shared: 21 x 1297 x 50 x 2 x 25 856 = 70.4
- metrics: 21 x 500 rows x 2 x (8192 + 50 x 17 664) = 18.7; first layer not shared: 27.1

So 99 and 129 GFLOP (PyTorch scores neither labelled rows nor in the last round, which saves it 6 and 9): 2 to 4 seconds
on a core that sustains 25 to 50 GFLOP/s, and sharing the first layer alone is worth a quarter of it at most. The rest
is overhead. A training step is 5 MFLOP, a tenth of a millisecond, and eager PyTorch needs several tenths for it:
2 to 4 seconds over 6300 steps. A fresh mask for every row draws 256 numbers a row and sample, 480 million a seed: again
seconds. baal moves every row through a DataLoader in Python. Compiled, a seed should come near the arithmetic: a few
times faster than the plain loop, less against the loop with shared masks, more against baal. Compilation takes several
seconds, once a campaign however many seeds: it should eat most of the gain at one seed, and little of it at eight. A
comparison of four compiles training and evaluation once, and only the choice of rows four times.
"""

import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

INITIAL_LABELS = 20
CORES = os.cpu_count() or 1
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "baal")
PEERS = ("PyTorch", "PyTorch, shared masks", "baal")
COMPARISON = ("random", "entropy", "margin", "bald")


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    repeats: int = 3
    """Runs of every contender, each with further seeds; the table shows medians over them."""
    seeds: int = 8
    """Seeds of al_jax's larger campaign."""
    peer_seeds: int = 1
    """Seeds of the peers in every run, one after the other."""
    parallel_peers: bool = True
    """Run the peers also with one process a core, one thread each: what many seeds cost them on this machine."""
    max_labels: int = 220
    """Fewer try the program out; FLOPs and ratios are then others."""
    output: Path = Path(__file__).parent / "results" / "campaign.json"
    """Where the table goes."""


class Contender(NamedTuple):
    """A row of the table, before the faster number of threads is chosen."""

    name: str
    seeds: int  # in a run, or in each process of one
    acquisitions: tuple[str, ...] = ("bald",)  # one after the other
    seed_block: int | None = None  # al_jax: None is its default
    threads: int | None = None  # PyTorch: None is its default, one a core
    processes: int = 1

    @property
    def label(self) -> str:
        """Without the threads, of which the faster choice is quoted."""
        seeds = f", {self.seeds} seed{'s' * (self.seeds > 1)}" if self.name == "al_jax" else ""
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        acquisitions = f", {len(self.acquisitions)} acquisitions" if len(self.acquisitions) > 1 else ""
        return self.name + seeds + processes + acquisitions

    @property
    def campaigns(self) -> int:
        """In a run."""
        return self.seeds * self.processes * len(self.acquisitions)


class Run(NamedTuple):
    """One process: wall seconds of all its campaigns together, and test accuracies."""

    seconds: float
    seconds_with_compilation: float  # all of it: also building, tables
    accuracy: list[list[float]]  # [campaigns, rounds]


class Task(NamedTuple):
    """What a process is given: `rows` are the initial ones of each seed, `arrays` the fields of `peers.Digits`."""

    contender: Contender
    first_seed: int
    max_labels: int
    rows: list[np.ndarray]
    arrays: tuple[np.ndarray, ...]


def contenders(options: Options) -> list[Contender]:
    """All, in the order in which they take turns."""
    chosen = [
        Contender("al_jax", 1, seed_block=1),
        Contender("al_jax", options.seeds),
        Contender("al_jax", options.seeds, COMPARISON),
    ]
    for name in PEERS:
        chosen += [Contender(name, options.peer_seeds, threads=threads) for threads in (1, None)]
        if options.parallel_peers and CORES > 1:
            side_by_side = Contender(name, options.peer_seeds, threads=1, processes=CORES)
            chosen += [side_by_side, side_by_side._replace(acquisitions=COMPARISON)]
    return chosen


def run_al_jax(task: Task) -> Run:
    """Cold campaigns, in a fresh process. They make their own initial rows, the same as `task.rows`."""
    os.environ.pop("XLA_FLAGS", None)
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PLATFORMS": "cpu"}
        from al_jax import campaign
        from experiments import runner
        from experiments.experiment import Experiment, build, changed

        runner.configure_devices()
        sizes = {"seeds": task.contender.seeds, "first_seed": task.first_seed, "max_labels": task.max_labels}
        if task.contender.seed_block is not None:
            sizes["seed_block"] = task.contender.seed_block
        of_rounds, cold, accuracy = 0.0, 0.0, list[list[float]]()
        for name in task.contender.acquisitions:
            experiment = changed(Experiment(), acquisition=name, **sizes)
            settings, built = experiment.settings, build(experiment)
            start = time.perf_counter()
            rounds = campaign.run(built.posterior, built.acquisition, built.dataset, settings).rounds
            cold += time.perf_counter() - start
            if len(rounds) != settings.seeds * rounds["round"].nunique():
                raise RuntimeError("a seed was stopped")
            # A round's seconds are those of all seeds together, and stand in the row of each.
            of_rounds += rounds.groupby("round").seconds.first().sum().item()
            accuracy += [of_seed.accuracy.tolist() for _, of_seed in rounds.groupby("seed")]
    return Run(of_rounds, cold, accuracy)


def run_peer(task: Task) -> Run:
    """Campaigns of a peer one after the other, in a fresh process."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)
    from benchmarks import peers

    data = peers.Digits(*task.arrays)
    results = []
    for name in task.contender.acquisitions:
        config = peers.Config(acquisition=name, max_labels=task.max_labels, threads=task.contender.threads)
        for seed, rows in enumerate(task.rows, task.first_seed):
            if task.contender.name == "baal":
                results.append(peers.baal_campaign(seed, rows, data, config))
            else:
                shared = task.contender.name == "PyTorch, shared masks"
                results.append(peers.pytorch_campaign(seed, rows, data, config, shared_masks=shared))
    seconds = sum(seconds for _, seconds in results)
    return Run(seconds, seconds, [[accuracy for _, accuracy in curve] for curve, _ in results])


def measure(contender: Contender, first_seed: int, max_labels: int) -> Run:
    """Seconds A CAMPAIGN of one run, in as many fresh processes as `contender` asks for, side by side."""
    from al_jax.data import digits, initial_rows

    data = digits()
    mean, std = data.inputs.mean(), data.inputs.std()
    pool_x, test_x = (
        ((x.reshape(len(x), -1) - mean) / std).astype(np.float32) for x in (data.inputs, data.test_inputs)
    )
    arrays = pool_x, data.labels, test_x, data.test_labels
    tasks = []
    for first in range(first_seed, first_seed + contender.processes * contender.seeds, contender.seeds):
        seeds = range(first, first + contender.seeds)
        rows = [initial_rows(seed, data.labels, INITIAL_LABELS, data.num_classes) for seed in seeds]
        tasks.append(Task(contender, first, max_labels, rows, arrays))
    with ProcessPoolExecutor(contender.processes, multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(run_al_jax if contender.name == "al_jax" else run_peer, tasks))
    return Run(
        max(run.seconds for run in runs) / contender.campaigns,
        max(run.seconds_with_compilation for run in runs) / contender.campaigns,
        [curve for run in runs for curve in run.accuracy],
    )


def summary(contender: Contender, runs: list[Run]) -> dict[str, object]:
    """A row of the table: medians over the runs, and their range."""
    seconds, cold = [run.seconds for run in runs], [run.seconds_with_compilation for run in runs]
    final = [curve[-1] for run in runs for curve in run.accuracy]
    every = [accuracy for run in runs for curve in run.accuracy for accuracy in curve]
    return {
        "contender": contender.label,
        "threads": contender.threads or "default",
        "seconds_per_campaign": statistics.median(seconds),
        "seconds_per_campaign_range": [min(seconds), max(seconds)],
        "seconds_per_campaign_with_compilation": statistics.median(cold),
        "seconds_per_campaign_with_compilation_range": [min(cold), max(cold)],
        "final_accuracy": statistics.mean(final),
        "mean_accuracy": statistics.mean(every),
        "runs": len(runs),
        "campaigns": len(final),
    }


def slower(runs: dict[Contender, list[Run]]) -> set[Contender]:
    """Those that another number of threads beat in their first run: once is enough of them."""
    best: dict[str, Contender] = {}
    for contender in sorted(runs, key=lambda c: runs[c][0].seconds):
        best.setdefault(contender.label, contender)
    return set(runs) - set(best.values())


def quoted(rows: list[dict]) -> list[dict]:
    """Of rows that differ in their threads alone, the fastest; with the ratios to every row of al_jax."""
    best: dict[str, dict] = {}
    for row in rows:
        if row["contender"] not in best or row["seconds_per_campaign"] < best[row["contender"]]["seconds_per_campaign"]:
            best[row["contender"]] = row
    ours = [row for label, row in best.items() if label.startswith("al_jax")]
    columns = ("seconds_per_campaign", "seconds_per_campaign_with_compilation")

    def ratios(row: dict) -> dict[str, dict[str, float]]:
        return {our["contender"]: {column: row[column] / our[column] for column in columns} for our in ours}

    return [row | {"ratio_to": ratios(row)} for row in best.values()]


def render(rows: list[dict], title: str) -> Table:
    """The table as it is printed; a ratio is theirs over ours, without / with compilation."""
    table = Table(title=title, caption="ratio: seconds over al_jax's, without / with its compilation")
    ours = list(rows[0]["ratio_to"])
    columns = (
        "s a campaign",
        "with compilation",
        *(f"ratio to\n{our}" for our in ours),
        "final acc.",
        "mean acc.",
        "n",
    )
    for column in ("contender", "threads", *columns):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        ratios = [" / ".join(f"{ratio:.2f}" for ratio in row["ratio_to"][our].values()) for our in ours]
        low, high = row["seconds_per_campaign_range"]
        peer = row["contender"] not in ours
        table.add_row(
            row["contender"],
            str(row["threads"]) if peer else "",
            f"{row['seconds_per_campaign']:.2f} ({low:.2f}-{high:.2f})",
            "" if peer else f"{row['seconds_per_campaign_with_compilation']:.2f}",
            *ratios,
            f"{row['final_accuracy']:.3f}",
            f"{row['mean_accuracy']:.3f}",
            str(row["campaigns"]),
        )
    return table


def main(options: Options) -> None:
    """Measure, print the table and save it."""
    console = Console(width=max(Console().width, 150))
    start, runs = time.perf_counter(), dict[Contender, list[Run]]()
    for repeat in range(options.repeats):
        for contender in contenders(options):
            if repeat and contender in slower(runs):
                continue
            first_seed = repeat * contender.seeds * contender.processes
            run = measure(contender, first_seed, options.max_labels)
            runs.setdefault(contender, []).append(run)
            console.print(
                f"[dim]{repeat + 1}/{options.repeats} {contender.label}, threads {contender.threads or 'default'}: "
                f"{run.seconds:.2f} s a campaign, with compilation {run.seconds_with_compilation:.2f}",
                soft_wrap=True,
            )
    rows = [summary(contender, of_contender) for contender, of_contender in runs.items()]
    table, described = quoted(rows), machine(PACKAGES)
    hardware = f"{described['cores']} cores ({described['cpu']})"
    title = f"digits to {options.max_labels} labels, {hardware}, {options.repeats} repeats"
    console.print(render(table, title))
    content = {
        "machine": described,
        "repeats": options.repeats,
        "max_labels": options.max_labels,
        "table": table,
        "all": rows,
    }
    write(options.output, content)
    console.print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.campaign", description=__doc__))
