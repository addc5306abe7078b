"""Every acquisition function on digits: paired seeds, a table for small batches and one for large ones.

python -m experiments.methods                           # run what is missing, print the tables
python -m experiments.methods --output docs/methods.md  # what is committed
python -m experiments.methods --only badge lcmd --seeds 5 --results-dir results/methods

A method's curve is a small file of its own: a run that was killed goes on, and a new method adds its rows alone.
"""

import dataclasses
import re
from pathlib import Path

import pandas as pd
import tyro

from al_jax import campaign, results
from al_jax.campaign import store
from experiments import runner
from experiments.experiment import Experiment, changed
from experiments.runner import console

METHODS = (
    *("random", "entropy", "least_confidence", "margin", "mean_std", "variation_ratio", "vote_entropy", "bald"),
    *("stochastic_top_k(bald)", "batchbald(1000)", "acs_fw", "epig(200)", "eer(200)", "emoc(200)", "core_mse(200)"),
    *("egl", "gradient_norm", "badge", "kernel_kmeans_plus_plus", "lcmd", "max_det", "farthest_first('gradients')"),
    *("core_set", "k_dpp", "k_means", "weighted_k_means", "clue", "cluster_margin", "typiclust", "prob_cover"),
    *("max_herding", "u_herding(entropy)", "suggestive(entropy, 200)", "information_density(entropy)"),
    *("falcun", "cdal", "mclu", "mclu_ecbd", "k_medoids", "robust_core_set(0.01)", "graph_density", "dal"),
    *("mutual_information", "prefilter(entropy, 300, bait)", "kernel_bait", "kernel_frank_wolfe"),
    *("drop_query", "pre_clustering", "wmocu(200)"),
    *("borda(entropy, bald)", "mixture(bald, random, shares=(0.8, 0.2))", "switch(60, typiclust, badge)"),
    *("per_class_quota(bald)", "prefilter(entropy, 200, badge)"),
)
"""What is compared, as expressions; random first, the baseline."""
HEAD = """# Every acquisition function on digits

An MLP of two hidden layers, 20 to 220 labels, 20 seeds. All methods of a seed have the same initial rows, networks and
minibatches. Differences are percentage points of the area under the learning curve (AUBC), paired by seed, with 95 %
intervals. Features are those of the network as each round trains it. (The papers of TypiClust, ProbCover and MaxHerding
use self-supervised features, and fewer labels than here.) Seconds are of several machines and loads. Written by
`python -m experiments.methods --output docs/methods.md`.

## What loses to random here, and why

- **The best rows by one score, at b = 40.** The 40 most uncertain rows resemble each other. With b = 10 the same scores
  win. `stochastic_top_k`, `prefilter(score, m, ...)` and the methods that spread a batch mend this.
- **`egl`, `gradient_norm`, `epig`, `eer`, `core_mse` under MC dropout.** Under the ensemble all of them win at b = 10.
  At a dropout rate of 0.5 the mean prediction is far from certain on most rows. The gradient of the entropy is 0 where
  the prediction is uniform, so `gradient_norm` avoids the most uncertain rows. `egl` multiplies by the length of the
  features, which is short where the entropy is high (rank correlation -0.5): its picks are at the 85th percentile of
  entropy. 500 posterior samples instead of 50 change nothing for `epig` (+0.6), `eer` (-0.8) and `core_mse` (-0.2).
- **`k_means` and `k_medoids` at b = 10.** They look at the pool alone. It hardly changes, so that ten centres are much
  the same in every round. With 40 centres they win.
- **`graph_density`.** One bandwidth holds for all classes, so the tightest ones are the densest: of 200 picks 78 to 110
  are zeros. Its paper (Ebert et al. 2012) uses it as one of several criteria, beside uncertainty.

"""
COLUMNS = ["method", "seed", "round", "num_labelled", "accuracy", "nll", "seconds"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare, and where the curves go."""

    posteriors: tuple[str, ...] = ("mc_dropout", "ensemble(point, 5)")
    """Expressions."""
    batch_sizes: tuple[int, ...] = (10, 40)
    """Rows acquired a round."""
    only: tuple[str, ...] = ()
    """Methods to run, by default all; the table has all that there are."""
    seeds: int = 20
    """Repetitions, the same for all."""
    max_labels: int = 220
    """Labels at the end; all begin with 20, 2 of each class."""
    results_dir: Path = Path(__file__).parent / "results" / "methods"
    """One CSV file an arm."""
    output: Path | None = None
    """The Markdown file that the tables go to; by default they are printed."""


def file_of(options: Options, posterior: str, batch_size: int, method: str) -> Path:
    """Where an arm's curve is kept."""
    safe = [re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_") for text in (posterior, method)]
    return options.results_dir / safe[0] / f"b{batch_size}" / f"{safe[1]}.csv"


def run(options: Options, posterior: str, batch_size: int, method: str) -> None:
    """Run one arm, and keep its curve."""
    sizes = {"seeds": options.seeds, "batch_size": batch_size, "max_labels": options.max_labels}
    experiment = changed(Experiment(), posterior=posterior, acquisition=method, **sizes)
    built = runner.build(experiment)
    done = campaign.run(built.posterior, built.acquisition, built.dataset, experiment.settings, method=method)
    path = file_of(options, posterior, batch_size, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = done.rounds[COLUMNS].round({"accuracy": 4, "nll": 4, "seconds": 2})
    partial = path.with_suffix(".partial")
    kept.to_csv(partial, index=False)
    partial.replace(path)


def table(options: Options, posterior: str, batch_size: int) -> str:
    """Markdown of all arms that there are, best first; empty where there is no baseline."""
    files = [file_of(options, posterior, batch_size, method) for method in METHODS]
    there = [store.read_table(path) for path in files if path.exists()]
    if not files[0].exists():
        return ""
    rounds = pd.concat(there, ignore_index=True)
    summary = results.summary(rounds).set_index("method")
    to_bald = None
    if "bald" in summary.index:
        to_bald = results.paired_difference(rounds, "bald", "aubc").set_index("method")
    seconds = rounds.drop_duplicates(["method", "round"]).groupby("method").seconds.sum() / summary.seeds
    lines = [
        f"## {posterior}, b = {batch_size}, {int(summary.seeds.max())} seeds",
        "",
        "| method | AUBC | final accuracy | AUBC - random | AUBC - BALD | s a seed |",
        "|---|---:|---:|---:|---:|---:|",
    ]

    def points(mean: float, low: float, high: float) -> str:
        return "" if pd.isna(low) else f"{100 * mean:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    for method, row in summary.sort_values("aubc", ascending=False).iterrows():
        against = to_bald.loc[method] if to_bald is not None and method in to_bald.index else None
        columns = (
            f"`{method}`",
            f"{100 * row.aubc:.1f}",
            f"{100 * row.final_accuracy:.1f}",
            points(row.aubc_difference, row.aubc_difference_low, row.aubc_difference_high),
            "" if against is None else points(against["mean"], against.low, against.high),
            f"{seconds[method]:.2f}",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing; print or write the tables."""
    options = runner.expanded(tyro.cli(Options, prog="python -m experiments.methods", description=__doc__))
    for unknown in set(options.only) - set(METHODS):
        raise ValueError(f"only={unknown}: expected names of {', '.join(METHODS)}")
    arms = [(p, b, m) for p in options.posteriors for b in options.batch_sizes for m in options.only or METHODS]
    for number, (posterior, batch_size, method) in enumerate(arms, 1):
        if not file_of(options, posterior, batch_size, method).exists():
            console.print(f"{number}/{len(arms)} {posterior}, b = {batch_size}, {method}", highlight=False)
            run(options, posterior, batch_size, method)
    text = HEAD + "\n".join(
        filter(None, (table(options, p, b) for p in options.posteriors for b in options.batch_sizes))
    )
    if options.output is None:
        console.print(text)
    else:
        options.output.write_text(text)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
