"""What a campaign would cost: counted from the programs themselves, without running them."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from al_jax.engine import chunks
from al_jax.models.forward import num_rows
from al_jax.sweep import at, settings_of
from al_jax.training import Training
from al_jax.types import Data, Labelled
from experiments.experiment import Experiment, texts
from experiments.runner import build, console


class Costs(NamedTuple):
    """Of all seeds together, but for `parameters`. FLOPs are XLA's count of the lowered programs."""

    rounds: int
    rows_scored: int
    parameters: int
    training_flops: float
    prediction_flops: float
    memory_bytes: float


def steps_of(training: Training, count: int) -> int:
    """Optimiser steps of a fit on `count` labelled rows; early stopping may take fewer."""
    if training.epochs is not None:
        return training.epochs * math.ceil(count / training.minibatch_size)
    return training.steps or 0


def costs(experiment: Experiment) -> Costs:
    """Count rounds, rows, FLOPs and bytes of a campaign; ValueError as `build`."""
    built = build(experiment)
    swept = settings_of(built.posterior, built.sweep)
    posterior, repetitions = at(built.posterior, swept[0]), experiment.settings.seeds * len(swept)
    dataset, settings, key = built.dataset, experiment.settings, jax.random.key(0)
    chunk_size = settings.chunk_size or chunks.automatic(posterior, dataset.inputs, settings.num_samples)
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((chunk_size, *leaf.shape[1:]), leaf.dtype), dataset.inputs)
    state = jax.eval_shape(posterior.init, key, x)

    def flops_of_row(num_samples: int) -> float:
        draws = jax.eval_shape(lambda k, s: posterior.sample(k, s, num_samples), key, state)
        return _flops(lambda s, d, rows: posterior.predict(s, d, rows).samples, state, draws, x) / chunk_size

    slots = settings.max_labels + settings.batch_size

    def buffer(length: int) -> Labelled:
        inputs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((length, *leaf.shape[1:]), leaf.dtype), dataset.inputs)
        labels, weights, rows = (
            jax.ShapeDtypeStruct((length,), dtype) for dtype in (dataset.labels.dtype, jnp.float32, jnp.int32)
        )
        arrays: tuple[Any, ...] = (labels, weights, rows, jax.ShapeDtypeStruct((), jnp.int32))
        return Labelled(inputs, *arrays)

    validation = None if dataset.validation_labels is None else buffer(len(dataset.validation_labels))
    # XLA counts the body of a loop once, and a fit is one loop: this is a training step.
    step = _flops(posterior.fit, key, state, Data(buffer(slots), validation))
    counts = [*range(settings.initial_labels, settings.max_labels, settings.batch_size), settings.max_labels]
    pool = num_rows(dataset.inputs)
    offered = settings.pool_subset or pool
    _, m = built.acquisition.shortlist or (None, 0)
    shortlist = min(m, offered)  # scored once more, by the acquisition itself
    summarised = shortlist or offered
    if texts(experiment)["acquisition"] == "random":
        summarised = 0
    rows_scored = repetitions * len(counts) * (summarised + (offered if shortlist else 0))
    rows_tested = repetitions * len(counts) * len(dataset.test_labels)
    steps = repetitions * sum(steps_of(built.training, count) for count in counts)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))
    at_once = min(settings.seed_block, repetitions)
    activations = chunk_size * chunks.bytes_of_row(posterior, dataset.inputs, settings.num_samples)
    memory = _bytes(dataset.inputs) + _bytes(dataset.test_inputs) + at_once * (12 * parameters + 2 * activations)
    memory += repetitions * (slots * _bytes(dataset.inputs) / pool + 4 * parameters)
    prediction = rows_scored * flops_of_row(settings.num_samples)
    prediction += rows_tested * flops_of_row(settings.test_samples or settings.num_samples)
    return Costs(len(counts), rows_scored, parameters, steps * step, prediction, memory)


def print_costs(experiment: Experiment) -> None:
    """Print the costs, and hours at a tenth of the speed of a matrix product here, which small networks reach."""
    found = costs(experiment)
    speed = matmul_flops()
    total = found.training_flops + found.prediction_flops
    written = texts(experiment)
    table = Table(title=f"{written['posterior']} + {written['acquisition']} on {written['data']}")
    table.add_column("what")
    table.add_column("all seeds together", justify="right")
    for name, value in (
        ("seeds", f"{experiment.settings.seeds}"),
        ("rounds a seed", f"{found.rounds}"),
        ("pool rows scored", f"{found.rows_scored:,}"),
        ("parameters of a state", f"{found.parameters:,}"),
        ("training", f"{found.training_flops:.2e} FLOPs"),
        ("scores and metrics", f"{found.prediction_flops:.2e} FLOPs"),
        ("memory", f"{found.memory_bytes / 2**20:,.0f} MiB"),
        ("time, a rough guess", f"{total / (speed / 10) / 3600:.3f} hours at {speed / 1e10:.0f} GFLOP/s"),
    ):
        table.add_row(name, value)
    console.print(table)


def matmul_flops(size: int = 1024) -> float:
    """FLOP/s of a float32 matrix product on the default device."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    began = time.perf_counter()
    jax.block_until_ready([product(a) for _ in range(5)])
    return 5 * 2 * size**3 / (time.perf_counter() - began)


def _flops(function: Callable, *args: Any) -> float:
    """XLA's count; of the program for a TPU, in which a convolution is one operation and not a loop."""
    lowered = jax.jit(function).trace(*args).lower(lowering_platforms=("tpu",))
    counted: Any = lowered.cost_analysis() or jax.jit(function).lower(*args).cost_analysis()
    return float(counted["flops"])


def _bytes(inputs: Any) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(inputs))
