"""The reproduced papers' published numbers beside ours, from the kept results of `gal2017`, `kirsch2019`, `beluch2018`.

Prints the tables and writes into OUTPUT: reproductions.md, which says what everything in them means; for every paper
<paper>.csv, the same for machines and in full, and, where there are results, <paper>.png, its learning curves.

Refuses results of another recipe than the coded one, damaged or missing files, and seeds that have not all rounds of
their recipe: nothing is then written. Results of the preset smoke are left out.

python -m experiments.reproduction.report --results results/kept --output docs
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from al_jax.campaign import store
from al_jax.campaign.store import StoreError
from experiments import runner
from experiments.reproduction import comparison, figure, text
from experiments.reproduction.comparison import Comparison, Paper, Result
from experiments.reproduction.papers import PAPERS

console = Console(width=max(120, Console().width))


@dataclasses.dataclass(frozen=True)
class Report:
    """What to read and where to write."""

    results: Path = Path("experiments/results")
    """Folder of kept results: RESULTS/<paper>/<preset>/<arm>/, what the papers' experiments call --keep."""
    output: Path = Path("docs")
    """Folder for tables and figures."""


def write(options: Report) -> None:
    """Print the tables of all papers, and write them with their figures."""
    if not options.results.is_dir():
        raise ValueError(f"results={str(options.results)!r}: expected a folder of kept results")
    strangers = {path.name for path in options.results.iterdir() if path.is_dir() and path.name[0] != "."}
    strangers -= {paper.name for paper in PAPERS}
    if strangers:
        raise StoreError(f"{options.results / min(strangers)} is of no paper: expected {[p.name for p in PAPERS]}")
    found = {paper.name: comparison.collect(options.results, paper) for paper in PAPERS}
    options.output.mkdir(parents=True, exist_ok=True)
    sections = [_written(paper, found[paper.name], options.output) for paper in PAPERS]
    (options.output / "reproductions.md").write_text("\n".join([text.INTRODUCTION, *sections]))
    console.print(f"written: {options.output / 'reproductions.md'}", soft_wrap=True, highlight=False)


def _written(paper: Paper, found: list[Result], output: Path) -> str:
    """The paper's section of the Markdown file; its table for machines and its figure are written."""
    everything: list[Comparison] = []
    lines = [f"## {paper.title}", "", paper.note, ""]
    drawn = figure.figure(paper, found)
    if drawn is not None:
        drawn.savefig(output / f"{paper.name}.png")
        lines += [f"![Learning curves of {paper.name}]({paper.name}.png)", ""]
    for part in paper.parts:
        rows = comparison.compare(paper, part, found)
        everything += rows
        lines += [f"### {part.title}", ""]
        note = "\n".join(text.count(rows))
        for table in text.tables(paper, part, rows, found):
            console.print(f"[bold]{paper.name}: {part.title}", text.terminal(table, note), sep="\n")
            lines += [text.markdown(table), ""]
        lines += [note, ""] if note else []
    store.write_table(output / f"{paper.name}.csv", comparison.table(paper, everything, found))
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and report."""
    unnamed = tyro.conf.arg(name="")
    given = tyro.cli(Annotated[Report, unnamed], prog="python -m experiments.reproduction.report", description=__doc__)
    write(runner.expanded(given))


if __name__ == "__main__":
    runner.guarded(main)
