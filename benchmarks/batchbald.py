"""BatchBALD by al_jax and by batchbald_redux 2.0.5, the reference of its authors, on the same log-probabilities.

The table is that of K linear classifiers with Gaussian weights on random features: as with a network's posterior
samples, what one row says about the weights it says of its neighbours too. Both select on this machine's CPU in one
process each, al_jax in float32 after compiling. The reference is exact while C^i configurations fit into its number of
samples, then samples M / K from every posterior sample and weights them by importance; al_jax keeps the M heaviest.
Information is compared by an estimate for either batch with up to 20 times as many configurations, and so are the
batches of BALD alone and of stochastic BALD (power, softmax, soft-rank), which cost one pass.

What to expect. The gain of one row takes M K C products, 10^7 FMA at (10 000, 100, 10), and M C logarithms, 10^5. The
reference computes every row's gain at every pick, in float64: N B times that, 2 x 10^12 FLOP for (10 000, 100, 10, 10).
Lazily some tens of rows are computed, and a few thousand bounded by 512 groups of configurations, 10^9 FMA: what is
left of a pick is grouping (M K 512 = 5 x 10^8 FMA, and as many comparisons as products / K), not gains.
"""

import dataclasses
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.environment import machine, write

FEATURES, SPREAD = 16, 0.2


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
    Case(60_000, 100, 10, 10, 10_000),
)
BASELINES = ("bald", "power", "softmax", "softrank")


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
    x = generator.normal(size=(case.rows, FEATURES)) * np.exp(0.5 * generator.normal(size=(case.rows, 1)))
    mean = 3 / np.sqrt(FEATURES) * generator.normal(size=(FEATURES, case.classes))
    weights = mean + SPREAD * generator.normal(size=(case.samples, FEATURES, case.classes))
    logits = np.einsum("nd,kdc->nkc", x, weights, optimize=True)
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return logits.astype(np.float32)


def al_jax(case: Case, options: Options) -> dict[str, Any]:
    """Of `batchbald` and the baselines: seconds of a selection and the rows; of `batchbald` also the diagnostics."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    from al_jax.acquisitions import bald, batchbald, stochastic_top_k, top_k
    from benchmarks.pool_scale import forget_peak, peak_memory

    table, everything = jnp.asarray(predictions(case)), jnp.ones(case.rows, bool)
    acquisition = batchbald(case.configurations)
    chosen = {"batchbald": lambda key, table: acquisition.select(key, None, table, everything, case.batch)}
    for name in BASELINES:
        lifted = top_k(bald) if name == "bald" else stochastic_top_k(bald, name)
        chosen[name] = lambda key, table, lifted=lifted: lifted.select(key, None, bald(table), everything, case.batch)
    found = dict[str, Any]()
    for name, select in chosen.items():
        began = time.perf_counter()
        compiled, taken = jax.jit(select).lower(jax.random.key(0), table).compile(), []
        compilation = time.perf_counter() - began
        forget_peak()
        before = peak_memory()
        for seed in range(options.repeats):
            began = time.perf_counter()
            acquired = jax.block_until_ready(compiled(jax.random.key(seed), table))
            taken.append(time.perf_counter() - began)
        found[name] = {
            "seconds": min(taken),
            "compilation": compilation,
            "memory": peak_memory() - before,
            "rows": acquired.indices.tolist(),
            **{what: values.tolist() for what, values in acquired.info.items()},
        }
    return found


def reference(case: Case, options: Options) -> dict[str, Any]:
    """Seconds and rows of the reference, once."""
    import torch
    from batchbald_redux.batchbald import get_batchbald_batch

    torch.manual_seed(0)
    log_probs = torch.from_numpy(predictions(case)).double()
    began = time.perf_counter()
    batch = get_batchbald_batch(log_probs, case.batch, case.configurations, dtype=torch.double, device="cpu")
    return {"seconds": time.perf_counter() - began, "rows": list(batch.indices)}


def information(case: Case, batches: dict[str, list[int]]) -> dict[str, tuple[float, float]]:
    """I(y_1..y_B; w) of batches and its standard error, with up to 20 times as many configurations."""
    import jax
    import jax.numpy as jnp

    from al_jax.acquisitions import batchbald

    configurations = min(20 * case.configurations, 2 * 10**7 // case.samples)  # beyond, memory
    table, select = predictions(case), batchbald(configurations).select
    everything = jnp.ones(case.batch, bool)
    of_batch = jax.jit(lambda table: select(jax.random.key(9), None, table, everything, case.batch))
    acquired = {name: of_batch(jnp.asarray(table[rows])) for name, rows in batches.items()}
    return {name: (float(a.scores[-1]), float(a.info["standard_error"][-1])) for name, a in acquired.items()}


def alone(function: Any, *args: Any) -> Any:
    """The function's result in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def main() -> None:
    """Run all cases, print the tables, write them as JSON."""
    options = tyro.cli(Options, prog="python -m benchmarks.batchbald", description=__doc__)
    speed = Table(title="BatchBALD, seconds for a batch")
    for column in ("N", "K", "C", "B", "M", "al_jax", "compiling", "MB", "redux", "ratio", "computed", "equal picks"):
        speed.add_column(column, justify="right")
    worth = Table(title="I(y_1..y_B; w) of the batches, nats, and seconds")
    for column in ("N", "K", "C", "B", "log K", "batchbald", "redux", *BASELINES):
        worth.add_column(column, justify="right")
    found = []
    for case in CASES:
        methods = alone(al_jax, case, options)
        if case.rows * case.samples * case.classes * case.batch * case.configurations / 10 <= options.most:
            methods["redux"] = alone(reference, case, options)
        nats = alone(information, case, {name: method["rows"] for name, method in methods.items()})
        for name, (mean, error) in nats.items():
            methods[name] |= {"information": mean, "information_error": error}
        found.append({"case": case._asdict(), "methods": methods})
        ours, theirs = methods["batchbald"], methods.get("redux")
        cells = [f"{ours['seconds']:.2f}", f"{ours['compilation']:.1f}", f"{ours['memory'] / 1e6:.0f}"]
        share = f"{100 * np.mean(ours['evaluated'][1:]):.1f} %"
        if theirs is None:
            cells += ["", "", share, ""]
        else:
            pairs = zip(ours["rows"], theirs["rows"], strict=True)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), case.batch)
            cells += [f"{theirs['seconds']:.1f}", f"{theirs['seconds'] / ours['seconds']:.0f}", share, f"first {same}"]
        speed.add_row(*(f"{value:,}" for value in case), *cells)
        cells = [f"{np.log(case.samples):.3f}"]
        for name in ("batchbald", "redux", *BASELINES):
            method = methods.get(name)
            cells.append(f"{method['information']:.3f} in {method['seconds']:.2f}" if method else "")
        worth.add_row(*(f"{value:,}" for value in case[:4]), *cells)
    console = Console(width=max(Console().width, 150))
    console.print(speed)
    console.print(worth)
    packages = ("jax", "jaxlib", "numpy", "torch", "batchbald_redux")
    write(options.output, {"machine": machine(packages), "cases": found})


if __name__ == "__main__":
    main()
