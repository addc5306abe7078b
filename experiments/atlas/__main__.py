"""The atlas: every acquisition, under several posteriors, on several data sets, with many paired seeds.

python -m experiments.atlas --dry-run                                   # arms, and hours where they are known
python -m experiments.atlas --only 'digits/*' --budget-hours 1          # run what is missing
python -m experiments.atlas --shard 0/4                                 # a fourth of it; files merge without a lock
python -m experiments.atlas --only 'digits/middle/*/badge' --seeds 2 --verify
python -m experiments.atlas --page docs/atlas.md                        # write the page from what there is

An arm is data/regime/posterior/acquisition; its curves are a small file. A run that was killed goes on, and a new
method adds its arms alone.
"""

import dataclasses
from pathlib import Path

import tyro

from experiments import runner
from experiments.atlas.arms import RESULTS, arms
from experiments.atlas.page import draw, page
from experiments.atlas.run import differences, expected_hours, missing, run, share
from experiments.runner import console


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run, and where its curves go."""

    only: tuple[str, ...] = ("*",)
    """Patterns of arms, such as 'digits/*' or '*/low/*/badge'."""
    seeds: int = 20
    """Repetitions; arms that are kept with as many are not run again."""
    shard: str = "0/1"
    """i/n: every n-th arm from the i-th on."""
    budget_hours: float | None = None
    """Begin no arm after so many hours."""
    dry_run: bool = False
    """Print how many arms are missing and what they will take, and run nothing."""
    verify: bool = False
    """Run the arms for `seeds` seeds, and compare with what is kept; keep nothing."""
    results_dir: Path = RESULTS
    """One CSV file an arm."""
    page: Path | None = None
    """Write the page there, and its pictures into a folder beside it; run nothing."""


def main() -> None:
    """Run what is missing, or say what it would take, or verify, or write the page."""
    options = runner.expanded(tyro.cli(Options, prog="python -m experiments.atlas", description=__doc__))
    if options.page is not None:
        options.page.write_text(page(options.results_dir))
        draw(options.results_dir, options.page.parent / options.page.stem)
        return
    if options.seeds < 1:
        raise ValueError(f"seeds={options.seeds}: expected at least 1")
    chosen = share(arms(options.only), options.shard)
    if options.verify:
        wrong = 0
        for arm in chosen:
            told = differences(arm, options.seeds, options.results_dir)
            wrong += told is not None
            console.print(f"{arm.name}: {told or 'the same'}", highlight=False)
        if wrong:
            raise ValueError(f"{wrong} of {len(chosen)} arms differ from what is kept")
        return
    todo = missing(chosen, options.seeds, options.results_dir)
    if options.dry_run:
        console.print(f"{len(todo)} of {len(chosen)} arms are missing", highlight=False)
        if todo:
            console.print(expected_hours(todo, options.seeds, options.results_dir).round(2).to_string(index=False))
        return
    run(todo, options.seeds, options.results_dir, options.budget_hours)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
