"""Where the time of a round of MNIST goes: Gal's network, K = 50, 20 labels, 60 000 rows to score and 10 000 to test.

TFDS_DATA_DIR=... python -m benchmarks.image_round

What to expect, in MFLOP a row: the convolutions 0.64 + 15.9, the dense layers 0.99 + 0.003, of which dropout and
Bayesian dense layers do the last two K = 50 times. One pass is 17.5, K draws of MC dropout 66, five members 88, K draws
of weights that are Bayesian in the dense layers 66. 70 000 rows are then 4.6, 6.1 and 4.6 TFLOP. A training step of 32
rows is 3 passes, 1.7 GFLOP: 300 of them are 0.5 TFLOP, of five members 2.5. The peak is that of NumPy's matrix product
of 2048 x 2048 in float32 on all cores, measured here.
"""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from al_jax import campaign
from al_jax.campaign.setup import programs, start_rows
from al_jax.engine.compiled import full_buffer
from al_jax.types import Data
from benchmarks.environment import machine, write
from experiments import runner
from experiments.experiment import Experiment, build, changed

POSTERIORS = ("mc_dropout", "ensemble(point, 5)", "variational", "variational with a Bayesian last layer")
EXPRESSIONS = {POSTERIORS[3]: ("variational", "gal_cnn(dense=dense)")}
TRUNK, HEAD, ROWS, STEP_ROWS = 16.5e6, 0.99e6, 70_000, 300 * 32
FLOP = {  # of training, and of predictions for a row
    POSTERIORS[0]: (3 * STEP_ROWS * (TRUNK + HEAD), TRUNK + 51 * HEAD),
    POSTERIORS[1]: (15 * STEP_ROWS * (TRUNK + HEAD), 5 * (TRUNK + HEAD)),
    POSTERIORS[2]: (3 * STEP_ROWS * (TRUNK + 2 * HEAD), TRUNK + 51 * HEAD),
    POSTERIORS[3]: (3 * STEP_ROWS * (TRUNK + HEAD), TRUNK + 2 * HEAD),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    posteriors: tuple[str, ...] = POSTERIORS
    """Some of the four."""
    repeats: int = 2
    """Rounds of each; the fastest is told."""
    output: Path = Path(__file__).parent / "results" / "image_round.json"
    """Where the numbers go."""


def peak(size: int = 2048, repeats: int = 5) -> float:
    """FLOP a second of the best of some matrix products."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    return 2 * size**3 / min(timed(lambda: a @ a) for _ in range(repeats))


def timed(function: Any, *args: Any) -> float:
    """Seconds of one call, to its end."""
    began = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - began


def account(name: str, repeats: int) -> dict[str, float]:
    """Seconds of the parts of a round, and of a whole round of the campaign."""
    posterior, network = EXPRESSIONS.get(name, (name, "gal_cnn"))
    experiment = changed(
        Experiment(), data="mnist", network=network, posterior=posterior, seeds=1, max_labels=20 + 10 * repeats
    )
    built, settings = build(experiment), experiment.settings
    data = built.dataset
    rounds = campaign.run(built.posterior, built.acquisition, data, settings, likelihood=built.likelihood).rounds
    whole = float(rounds.seconds.min())

    cycle = programs(built.posterior, built.acquisition, settings, built.likelihood)
    rows, test = start_rows(data, settings)[0], full_buffer(data.test_inputs, data.test_labels)
    state = cycle.init(jax.random.key(0), data.inputs, jnp.asarray(rows), jnp.asarray(data.labels[rows]))
    moved = timed(lambda: jax.device_put((data.inputs, test)))
    inputs, test = jax.device_put((data.inputs, test))
    fit = jax.jit(lambda key, state: built.posterior.fit(key, state.posterior, Data(state.labelled, None, None)))
    learn, choose = jax.jit(cycle.learn), jax.jit(cycle.choose)
    fit = fit.lower(state.key, state).compile()
    learned = learn(state, None, None, test)
    choose(*learned, inputs, None)
    seconds = {
        "training": min(timed(fit, state.key, state) for _ in range(repeats)),
        "learn": min(timed(learn, state, None, None, test) for _ in range(repeats)),
        "pool": min(timed(choose, *learned, inputs, None) for _ in range(repeats)),
    }
    test_seconds = seconds.pop("learn") - seconds["training"]
    rest = whole - seconds["training"] - test_seconds - seconds["pool"]
    return {"round": whole, **seconds, "test set": test_seconds, "rest": rest, "transfer, once": moved}


def main(options: Options) -> None:
    """Measure, print the table and keep the numbers."""
    runner.configure_devices()
    flops, found = peak(), {}
    table = Table(title=f"seconds; peak {flops / 1e9:.0f} GFLOP/s on {os.cpu_count()} cores")
    for column in ("", "round", "training", "pool", "test set", "rest", "transfer, once", "TFLOP", "of the peak"):
        table.add_column(column, justify="right" if column else "left")
    for name in options.posteriors:
        seconds, (training, row) = account(name, options.repeats), FLOP[name]
        needed = training + ROWS * row
        found[name] = seconds | {"flop": needed, "flop_training": training}
        told = [f"{value:.2f}" for value in seconds.values()]
        table.add_row(name, *told, f"{needed / 1e12:.1f}", f"{needed / seconds['round'] / flops:.0%}")
        packages = ("jax", "jaxlib", "flax", "optax", "numpy")
        write(options.output, {"machine": machine(packages), "peak": flops, "posteriors": found})
    Console(width=130).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.image_round", description=__doc__))
