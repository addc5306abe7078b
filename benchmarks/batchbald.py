"""BatchBALD by al_jax and by batchbald_redux 2.0.5, the reference of its authors, on the same log-probabilities.

Random predictions of N rows by K samples: every row has a scale of its own, so that most are confident and a few are
worth a label, as in a pool. Both select on this machine's CPU in one process each, al_jax in float32 after compiling.
The reference is exact while C^i configurations fit into its number of samples, then samples M / K from every posterior
sample and weights them by importance; al_jax keeps the M heaviest. Information is compared by an estimate for either
batch with 20 times as many configurations.

What to expect. The gain of one row at a pick takes M K C products, 10^7 FMA at (10 000, 100, 10), and M C logarithms,
10^5. The reference computes every row's gain at every pick, in float64: N B times that, 2 x 10^12 FLOP for
(10 000, 100, 10, 10). Lazily a few per cent of the rows are computed, in float32, by one matrix product a block: some
10^11 FLOP, half a second on two cores; logarithms take as long again.
"""

import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table


class Case(NamedTuple):
    """Rows, samples, classes, batch, configurations."""

    rows: int
    samples: int
    classes: int
    batch: int
    configurations: int


CASES = (
    Case(2_000, 100, 10, 5, 10_000),
    Case(10_000, 100, 10, 10, 10_000),
    Case(10_000, 10, 10, 10, 10_000),
    Case(2_000, 10, 47, 5, 10_000),
    Case(10_000, 1_000, 10, 10, 10_000),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run."""

    repeats: int = 3
    """Selections by al_jax, with further keys; the best time counts."""
    most: int = 10**11
    """The reference runs where rows x samples x classes x batch x configurations / 10 is at most this."""
    output: Path = Path(__file__).parent / "results" / "batchbald.json"
    """Where the table goes."""


def predictions(case: Case) -> np.ndarray:
    """log p(y | x, w) [N, K, C] in float32."""
    generator = np.random.default_rng(0)
    certainty, disagreement = generator.gamma(4.0, 1.0, (case.rows, 1, 1)), generator.gamma(1.0, 0.7, (case.rows, 1, 1))
    logits = certainty * generator.normal(size=(case.rows, 1, case.classes))
    logits = logits + disagreement * generator.normal(size=(case.rows, case.samples, case.classes))
    logits -= np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) + logits.max(
        -1, keepdims=True
    )
    return logits.astype(np.float32)


def al_jax(case: Case, options: Options) -> dict:
    """Seconds of a selection, of its compilation, the rows and the share of the pool that was evaluated."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    from al_jax.acquisitions import batchbald

    log_probs = jnp.asarray(predictions(case))
    acquisition, everything = batchbald(case.configurations), jnp.ones(case.rows, bool)
    select = jax.jit(lambda key, table: acquisition.select(key, None, table, everything, case.batch))
    began = time.perf_counter()
    compiled = select.lower(jax.random.key(0), log_probs).compile()
    compilation, taken = time.perf_counter() - began, []
    for seed in range(options.repeats):
        began = time.perf_counter()
        acquired = jax.block_until_ready(compiled(jax.random.key(seed), log_probs))
        taken.append(time.perf_counter() - began)
    return {
        "seconds": min(taken),
        "compilation": compilation,
        "rows": acquired.indices.tolist(),
        "scores": acquired.scores.tolist(),
        "standard_error": acquired.info["standard_error"].tolist(),
        "evaluated": acquired.info["evaluated"].tolist(),
    }


def reference(case: Case, options: Options) -> dict:
    """The same of batchbald_redux, once."""
    import torch
    from batchbald_redux.batchbald import get_batchbald_batch

    torch.manual_seed(0)
    log_probs = torch.from_numpy(predictions(case)).double()
    began = time.perf_counter()
    found = get_batchbald_batch(log_probs, case.batch, case.configurations, dtype=torch.double, device="cpu")
    return {"seconds": time.perf_counter() - began, "rows": list(found.indices), "scores": list(found.scores)}


def information(case: Case, rows: list[int]) -> tuple[float, float]:
    """I(y_1..y_B; w) of a batch and its standard error, with 20 times as many configurations."""
    import jax
    import jax.numpy as jnp

    from al_jax.acquisitions import batchbald

    table = jnp.asarray(predictions(case)[rows])
    select = batchbald(20 * case.configurations).select
    acquired = jax.jit(lambda key: select(key, None, table, jnp.ones(case.batch, bool), case.batch))(jax.random.key(9))
    return float(acquired.scores[-1]), float(acquired.info["standard_error"][-1])


def main() -> None:
    """Run all cases, print the table, write it as JSON."""
    options = tyro.cli(Options, description=__doc__)
    table = Table(title="BatchBALD, seconds for a batch")
    for column in ("N", "K", "C", "B", "M", "al_jax", "compiling", "redux", "ratio", "evaluated", "equal picks"):
        table.add_column(column, justify="right")
    for column in ("I of the batch", "I of redux's"):
        table.add_column(column, justify="right")
    found = []

    def alone(function, *args):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(function, *args).result()

    for case in CASES:
        ours = alone(al_jax, case, options)
        ours["information"] = alone(information, case, ours["rows"])
        theirs = None
        if case.rows * case.samples * case.classes * case.batch * case.configurations / 10 <= options.most:
            theirs = alone(reference, case, options)
            theirs["information"] = alone(information, case, theirs["rows"])
        found.append({"case": case._asdict(), "al_jax": ours, "batchbald_redux": theirs})
        cells = [f"{ours['seconds']:.2f}", f"{ours['compilation']:.1f}"]
        share = f"{100 * np.mean(ours['evaluated'][1:]):.0f} %"
        if theirs is None:
            cells += ["", "", share, "", "{:.4f} ± {:.4f}".format(*ours["information"]), ""]
        else:
            same = next((i for i, (a, b) in enumerate(zip(ours["rows"], theirs["rows"], strict=True)) if a != b), None)
            equal = "all" if same is None else f"first {same}"
            cells += [f"{theirs['seconds']:.1f}", f"{theirs['seconds'] / ours['seconds']:.0f}", share, equal]
            cells += ["{:.4f} ± {:.4f}".format(*side["information"]) for side in (ours, theirs)]
        table.add_row(*(f"{value:,}" for value in case), *cells)
    Console(width=150).print(table)
    packages = ("jax", "jaxlib", "numpy", "torch", "batchbald_redux")
    versions = {name: importlib.metadata.version(name) for name in packages}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"environment": machine, "cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
