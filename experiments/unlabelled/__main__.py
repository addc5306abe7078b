"""What unlabelled rows are worth on MNIST: objectives, and an encoder, with and without active learning.

python -m experiments.unlabelled                                        # run what is missing
python -m experiments.unlabelled --only fixmatch random --seeds 4
python -m experiments.unlabelled --page docs/results/unlabelled.md      # write the page from what there is
"""

import dataclasses
from pathlib import Path

import pandas as pd
import tyro

from al_jax import campaign, results
from al_jax.campaign import store
from experiments import runner
from experiments.runner import console
from experiments.unlabelled.arms import QUESTIONS, RESULTS, SEEDS, Arm, arms, experiment_of

COLUMNS = ["method", "seed", "round", "num_labelled", "accuracy", "nll", "ece", "seconds"]
INTRODUCTION = """# What unlabelled rows are worth

MNIST, 60 000 images of which a round offers 2 000. On images: LeNet with dropout 0.1, 500 steps of Adam a round, 10
to 40 labels by 10, or 20 to 120 by 20, the first ones balanced. On vectors: an encoder by SimCLR, trained once on the
pool without labels, and an MLP of one hidden layer. Differences are paired by seed, in percentage points, with 95 %
intervals. Written by `python -m experiments.unlabelled --page docs/results/unlabelled.md` from
`experiments/results/unlabelled/`.

In short: FixMatch is worth 13 points at 40 random labels, and TypiClust another 8 on top. Uncertainty hurts beside
FixMatch with so few labels: margin and BALD ask for rows that pseudo-labels would not have got wrong in the same way,
and leave out typical ones from which the right pseudo-labels spread (this is our reading, not a measurement). On the
vectors of an encoder TypiClust and MaxHerding gain 17 points at 10 labels. ProbCover loses there, with its own choice
of a radius. The consistency losses lose by their weight: with the default of 10 mean teacher is 10 points behind at 40
labels, with 1 it is level, and Pi 17 and 3. None gains in 500 steps.

Learned acquisitions gain nothing here, up to 120 labels, and two lose. Why, measured on digits with 120 labels: the
predicted loss of `loss_prediction` orders test rows by their loss with a rank correlation of 0.5, where the same
network's margin has 0.98, and half of the 50 rows it puts first are of one class. `waal` loses by the weight 10 of its
critic, the authors' value: with 0 to 1 it ends at 91 %, with 10 at 86, random rows at 90, margin under the same
posterior at 94. The adversary of `vaal` costs nothing and gains nothing. Each is compared with random rows under its
own posterior, too; the published code of TA-VAAL trains all its baselines with the loss predictor.

A warm start costs no accuracy here, and its networks are too sure: at 120 labels ECE is 3.3 points higher [2.2, 4.3]
than of fresh ones, NLL by 0.21 [0.14, 0.28]. Shrink-and-perturb, with the paper's numbers, does not mend that.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run, and where its curves go."""

    only: tuple[str, ...] = ()
    """Names of arms; by default all."""
    seeds: int = SEEDS
    """Repetitions; arms that are kept with as many are not run again."""
    results_dir: Path = RESULTS
    """One CSV file an arm."""
    page: Path | None = None
    """Write the page there; run nothing."""


def main() -> None:
    """Run what is missing, or write the page."""
    options = runner.expanded(tyro.cli(Options, prog="python -m experiments.unlabelled", description=__doc__))
    if options.page is not None:
        options.page.write_text(page(options.results_dir))
        return
    if unknown := set(options.only) - {arm.name for arm in arms()}:
        raise ValueError(f"only={min(unknown)!r}: expected names of {', '.join(arm.name for arm in arms())}")
    for arm in arms():
        known = kept(arm, options.results_dir)
        if (options.only and arm.name not in options.only) or (
            known is not None and known["seed"].nunique() >= options.seeds
        ):
            continue
        console.print(f"{arm.name}: running", highlight=False)
        options.results_dir.mkdir(parents=True, exist_ok=True)
        store.write_table(options.results_dir / f"{arm.name}.csv", curves(arm, options.seeds))


def curves(arm: Arm, seeds: int) -> pd.DataFrame:
    """Run an arm: a row a seed and round."""
    experiment = experiment_of(arm, seeds)
    built = runner.build(experiment)
    done = campaign.run(built.posterior, built.acquisition, built.dataset, experiment.settings, method=arm.name)
    return done.rounds[COLUMNS].round({"accuracy": 4, "nll": 4, "ece": 4, "seconds": 2})


def kept(arm: Arm, folder: Path) -> pd.DataFrame | None:
    """The curves of an arm, where there are any."""
    path = folder / f"{arm.name}.csv"
    return store.read_table(path) if path.exists() else None


def page(folder: Path) -> str:
    """A table for each question, from the curves that are kept."""
    parts = [INTRODUCTION]
    for question in QUESTIONS:
        tables = [kept(arm, folder) for arm in (question.baseline, *question.arms)]
        there = [table for table in tables if table is not None]
        if tables[0] is None or len(there) < 2:
            continue
        rounds, name = pd.concat(there, ignore_index=True), question.baseline.name
        accuracy = rounds.groupby(["method", "num_labelled"])[["accuracy", "nll", "ece"]].mean()
        most = question.labels[-1]
        heads = [*(f"accuracy at {n}" for n in question.labels), f"NLL at {most}", f"ECE at {most}"]
        parts += [
            f"## {question.text}\n",
            f"{rounds['seed'].nunique()} seeds, against `{name}`.\n",
            f"| arm | {' | '.join(heads)} | difference at {question.labels[0]} | at {most} |",
            f"|---|{'---:|' * (len(heads) + 2)}",
        ]
        gaps = [results.paired_difference(rounds, name, at=n).set_index("method") for n in (question.labels[0], most)]
        for method in rounds["method"].unique():
            told = [f"{100 * accuracy.loc[(method, n), 'accuracy']:.1f}" for n in question.labels]
            apart = ["", ""]
            if method != name:
                apart = [results.points(*gap.loc[method, ["mean", "low", "high"]]) for gap in gaps]
            nll, ece = accuracy.loc[(method, most), "nll"], accuracy.loc[(method, most), "ece"]
            parts.append(f"| `{method}` | {' | '.join([*told, f'{nll:.2f}', f'{100 * ece:.1f}', *apart])} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
