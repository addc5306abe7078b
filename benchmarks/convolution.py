"""Training and scoring of the two MNIST networks of the literature, al_jax against PyTorch, on this machine's CPU.

Gal's network (Gal et al. 2017) with minibatches of 128 and BatchBALD's (Kirsch et al. 2019) with minibatches of 64:
milliseconds of a training step (Adam, dropout on) inside the compiled loop, and seconds to score 10 000 images by BALD
with K = 100 samples. PyTorch scores as its users do, by K passes of the whole network over minibatches; that is timed
on fewer images and scaled. Contenders take turns, each in a fresh process, with random images: only time is measured.
In the same run: a training step of al_jax with XLA's own convolution.

What to expect, in MFLOP an image. Gal's network: forward 17.5 (16.5 of it convolutions, before the first dropout
layer), so a step of 128 is 3 x 2.2 = 6.7 GFLOP, and scoring 16.5 + 100 x 1.0 = 117 instead of 1750: 15 times less.
BatchBALD's: forward 8.0 (0.9, 6.6 and 0.3 for its layers), so a step of 64 is 1.5 GFLOP; scoring 0.9 + 6.6 once, and
100 x (0.26 + 0.26) for the masked sums and the dense layers, is 61 instead of 800: 13 times less. Two cores give some
200 GFLOP/s in a large matrix product: 35 ms and 8 ms a step, 6 s and 3 s to score.
"""

import dataclasses
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

MINIBATCH = {"gal_cnn": 128, "batchbald_cnn": 64}
SAMPLES, ROWS = 100, 10_000
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    repeats: int = 3
    """Fresh processes for every contender; the table shows medians."""
    steps: int = 20
    """Training steps timed in each."""
    rows: int = 2048
    """Images that al_jax scores in each, scaled to 10 000."""
    peer_rows: int = 256
    """Images that PyTorch scores by K passes of the whole network, scaled to 10 000."""
    output: Path = Path(__file__).parent / "results" / "convolution.json"
    """Where the table goes."""


def images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random grey images and labels."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (rows, 28, 28, 1)).astype(np.uint8), generator.integers(0, 10, rows)


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """The best of some calls, after one that is not timed."""
    function()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return min(taken)


def al_jax(network: str, options: Options, native: bool = False) -> dict[str, float]:
    """Milliseconds a step and seconds for 10 000 images; `native` is a step with XLA's own convolution."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp
    import optax

    import al_jax.models.convolution as fast
    from al_jax import models
    from al_jax.acquisitions import bald
    from al_jax.engine.chunks import automatic
    from al_jax.likelihood import categorical
    from al_jax.pool import stream
    from al_jax.posteriors import mc_dropout
    from al_jax.training import Training
    from al_jax.types import Data, Labelled

    if native:
        fast._convolve = fast._native
    module = getattr(models, network)(10, mean=127.5, std=74.0)
    batch, steps = MINIBATCH[network], 2 if native else options.steps
    x, y = images(batch)
    training = Training(optax.adam(1e-3), minibatch_size=batch, steps=steps)
    posterior = mc_dropout(module, categorical(), training)
    key = jax.random.key(0)
    state = jax.jit(posterior.init)(key, x)
    count = jnp.asarray(batch, jnp.int32)
    labelled = Labelled(jnp.asarray(x), jnp.asarray(y), jnp.ones(batch), jnp.arange(batch), count)
    fit = jax.jit(posterior.fit).lower(key, state, Data(labelled)).compile()
    step = seconds(lambda: jax.block_until_ready(fit(key, state, Data(labelled)))) / steps

    if native:
        return {"step_ms": 1e3 * step}

    def scores(key: jax.Array, pool: jax.Array) -> jax.Array:
        draws = posterior.sample(key, state, SAMPLES)
        size, rows = automatic(posterior, x, SAMPLES), jnp.arange(options.rows)
        return stream(lambda x, _: bald(posterior.predict(state, draws, x).log_probs), pool, rows, size)

    pool, _ = images(options.rows)
    score = jax.jit(scores).lower(key, jnp.asarray(pool)).compile()
    scoring = seconds(lambda: jax.block_until_ready(score(key, pool))) * ROWS / options.rows
    return {"step_ms": 1e3 * step, "scoring_s": scoring}


def xla(network: str, options: Options) -> dict[str, float]:
    """A training step of al_jax with XLA's own convolution."""
    return al_jax(network, options, native=True)


def pytorch(network: str, options: Options) -> dict[str, float]:
    """The same in eager PyTorch with its default threads, one a core."""
    import torch
    from torch import nn

    class MaxPool(nn.MaxPool2d):
        def __init__(self) -> None:
            super().__init__(2)

    dropout = nn.Dropout(0.5)
    layers = {
        "gal_cnn": [
            *(nn.Conv2d(1, 32, 4), nn.ReLU(), nn.Conv2d(32, 32, 4), nn.ReLU(), MaxPool(), nn.Dropout(0.25)),
            *(nn.Flatten(), nn.Linear(3872, 128), nn.ReLU(), dropout, nn.Linear(128, 10)),
        ],
        "batchbald_cnn": [
            *(nn.Conv2d(1, 32, 5), nn.Dropout2d(0.5), MaxPool(), nn.ReLU()),
            *(nn.Conv2d(32, 64, 5), nn.Dropout2d(0.5), MaxPool(), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), dropout, nn.Linear(128, 10)),
        ],
    }
    model = nn.Sequential(*layers[network])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def tensors(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = images(rows)
        return (torch.from_numpy(x).float().permute(0, 3, 1, 2).contiguous() - 127.5) / 74.0, torch.from_numpy(y)

    x, y = tensors(MINIBATCH[network])

    def train() -> None:
        for _ in range(options.steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    pool, _ = tensors(options.peer_rows)

    @torch.no_grad()
    def score() -> torch.Tensor:
        log_p = torch.stack([model(pool).log_softmax(-1) for _ in range(SAMPLES)], 1)
        mean = log_p.logsumexp(1) - np.log(SAMPLES)
        return (log_p.exp() * log_p).sum(-1).mean(1) - (mean.exp() * mean).sum(-1)

    return {
        "step_ms": 1e3 * seconds(train) / options.steps,
        "scoring_s": seconds(score, 1) * ROWS / options.peer_rows,
    }


CONTENDERS = {"al_jax": al_jax, "XLA's convolution": xla, "PyTorch": pytorch}


def main() -> None:
    """Let the contenders take turns, print the table, write it as JSON."""
    options = tyro.cli(Options, description=__doc__)
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        network: {name: {"step_ms": [], "scoring_s": []} for name in CONTENDERS} for network in MINIBATCH
    }
    for _ in range(options.repeats):
        for network, of_network in found.items():
            for name, contender in CONTENDERS.items():
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                    for what, value in process.submit(contender, network, options).result().items():
                        of_network[name][what].append(value)
    table = Table(title="MNIST networks: a training step, and BALD over 10 000 images with K = 100")
    for column in ("network", "contender", "step, ms", "ratio", "scoring, s", "ratio"):
        table.add_column(column, justify="left" if column in ("network", "contender") else "right")
    for network, of_network in found.items():
        ours = {what: statistics.median(values) for what, values in of_network["al_jax"].items()}
        for name, measured in of_network.items():
            cells = []
            for what, values in measured.items():
                middle = statistics.median(values) if values else None
                cells += ["", ""] if middle is None else [f"{middle:.1f}", f"{middle / ours[what]:.2f}"]
            table.add_row(network, name, *cells)
    Console().print(table)
    write(options.output, {"machine": machine(PACKAGES), "networks": found})


if __name__ == "__main__":
    main()
