"""Time and quality of a round with every posterior: digits, BALD, 20 labels to 200 by 20, an MLP 64-64-64-10.

The last layer has 650 weights, of which `nuts_last_layer` takes 2 chains x (100 + 50) draws; `nuts`, which samples the
whole network, has one hidden layer of 8 units. Seconds are those of whole rounds (training, sampling, scores of 1 297
rows, metrics of 500), after the first round, in one process a posterior; compilation is apart.

python -m benchmarks.posteriors
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from rich.console import Console

from al_jax import results
from al_jax.campaign import store
from benchmarks.environment import machine, write

TEXTS = {
    "point": "point",
    "mc_dropout": "mc_dropout",
    "ensemble": "ensemble(point, 5)",
    "debal": "ensemble(mc_dropout, 5)",
    "variational": "variational(prior_std=0.3, temperature=0.1)",
    "svi": "svi(prior=0.3, temperature=0.1)",
    "swag": "swag",
    "laplace": "laplace",
    "dpe": "dpe",
    "sngp": "sngp",
    "evidential": "evidential",
    "sgld": "sgld",
    "cyclical_sghmc": "cyclical_sghmc",
    "snapshot_ensemble": "snapshot_ensemble",
    "loss_prediction": "loss_prediction",
    "waal": "waal",
    "nuts_last_layer": "nuts_last_layer(prior_std=None)",
    "nuts": "nuts(chains=2, warmup=100, draws=50)",
}
OPTIONS = ("--batch-size", "20", "--max-labels", "200", "--num-samples", "50")
NETWORK, SMALL = "mlp(hidden=(64, 64))", "mlp(hidden=(8,))"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    posteriors: tuple[str, ...] = tuple(TEXTS)
    """Names in `TEXTS`."""
    seeds: tuple[int, ...] = (1, 8)
    """Numbers of seeds that run together."""
    output: Path = Path("benchmarks/results/posteriors.json")
    """Where the numbers go."""


def measured(name: str, seeds: int) -> dict[str, Any]:
    """One campaign in a process of its own, compiled from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        what = ["--posterior", TEXTS[name], "--network", SMALL if name == "nuts" else NETWORK]
        command = [sys.executable, "-m", "experiments.run", *what, *OPTIONS]
        subprocess.run(
            [*command, "--seeds", str(seeds), "--results-dir", folder],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"},
        )
        (directory,) = Path(folder).glob("run/*")
        rounds = store.read_table(directory / "rounds.csv")
        compiled = json.loads((directory / "summary.json").read_text())["compile_seconds"]
    seconds = rounds.drop_duplicates("round").seconds.to_numpy()[1:]
    last = rounds[rounds.num_labelled == rounds.num_labelled.max()]
    found = {"posterior": name, "seeds": seeds, "round": float(np.median(seconds)), "slowest": float(seconds.max())}
    found |= {"compile": compiled, "accuracy": float(last.accuracy.mean()), "nll": float(last.nll.mean())}
    for column in ("fit_r_hat", "fit_divergences"):
        if column in rounds:
            found[column.removeprefix("fit_")] = float(rounds[column].max())
    return found


def main(options: Options) -> None:
    """Time every posterior, print the table and keep the numbers."""
    rows = [measured(name, seeds) for name in options.posteriors for seeds in options.seeds]
    table = pd.DataFrame(rows)
    Console().print(results.text_table(table.map(lambda v: f"{v:.3g}" if isinstance(v, float) else str(v))))
    packages = ("jax", "flax", "numpyro", "optax")
    write(options.output, {"machine": machine(packages), "options": " ".join(OPTIONS), "rounds": rows})


if __name__ == "__main__":
    main(tyro.cli(Options))
