"""The comparisons of `report` as tables for people: for a terminal, and in Markdown."""

import math
from collections.abc import Callable

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from al_jax import results
from experiments.reproduction.comparison import (
    Comparison,
    Paper,
    Part,
    Quantity,
    Result,
    chance_inside,
    decided,
    device,
    hours_a_seed,
)

LEFT = ("arm", "", "runs")
INTRODUCTION = """\
# Reproductions

Written by `python -m experiments.reproduction.report` from the kept results (`experiments/results/`, where the
`run.json` of every folder has the exact commands, versions and commits); not to be edited.

- **Labels** are counted in total, the initial ones included, when an accuracy is first met; "never": not within the
  budget.
- **published**: median [smallest, largest] of the authors' runs, each the value of a run. LOGS: recomputed from the
  result files in their repositories. They are in `experiments/published.py`, run by run.
- **ours**: median [quartiles] over seeds, each the value of a seed. Preset *paper* is the published recipe; *cpu* the
  recipe with the reductions named below. They are different recipes, and never mixed.
- **inside**: our median lies within [smallest, largest] of the authors' runs; **outside**, above or below. "2/3": so
  many of our seeds lie within. **open**: our runs ended before the authors' slowest run had reached the accuracy, and
  had not reached it either.
- With so few runs an exact repetition would not always be inside: below each table is how many are, and how many a
  repetition that differs in nothing but its seeds would have on average. A quantity outside is thus no proof of a
  difference, and one inside no proof that there is none; the quantities of an arm depend on each other.
"""


def number(quantity: Quantity, value: float) -> str:
    """As people read it: labels whole, accuracy and ECE in %, others with three decimals."""
    if math.isinf(value):
        return "never"
    if quantity.kind == "labels":
        return f"{value:.0f}"
    if quantity.kind == "epochs":
        return f"{value:.1f}"
    return f"{100 * value:.1f}" if quantity.kind in ("accuracy", "ece") else f"{value:.3f}"


def header(quantity: Quantity) -> str:
    """Of a column."""
    if quantity.kind == "labels":
        return f"labels to {100 * quantity.at:.0f} %"
    if quantity.kind == "saturation":
        return "I / log K"
    if quantity.kind == "epochs":
        return "epochs a round"
    name = {"accuracy": "accuracy in %", "nll": "NLL", "ece": "ECE in %", "brier": "Brier score"}[quantity.kind]
    return f"{name} at {quantity.at:.0f}"


def spread(quantity: Quantity, low: float, median: float, high: float) -> str:
    """A median and what is in brackets behind it."""
    low_text, text, high_text = (number(quantity, value) for value in (low, median, high))
    return text if low_text == text == high_text else f"{text} [{low_text}, {high_text}]"


def theirs(c: Comparison) -> str:
    """The authors' runs in a cell."""
    if not c.published:
        return ""
    return spread(c.quantity, min(c.published), results.quartiles(c.published)[1], max(c.published))


def ours(c: Comparison) -> str:
    """Our seeds and the verdict in a cell, on two lines."""
    if not c.ours:
        return ""
    low, median, high = results.quartiles(c.ours)
    words = {"above": "outside, above", "below": "outside, below", None: ""}.get(c.verdict, c.verdict)
    of_seeds = f" {c.seeds_inside}/{len(c.ours)}" if decided(c) else ""
    return f"{spread(c.quantity, low, median, high)}\n{words}{of_seeds}".strip()


def tables(paper: Paper, part: Part, rows: list[Comparison], found: list[Result]) -> list[pd.DataFrame]:
    """All strings, a table for each of the part's: per arm the authors' runs, and ours with every preset.

    Of tables without a number only the first is there.
    """
    how = {(result.arm, result.preset): result for result in found}
    first, *others = (_table(paper, part, quantities, rows, how) for quantities in part.tables)
    return [first, *(table for table in others if len(table.columns) > len(LEFT))]


def _table(
    paper: Paper,
    part: Part,
    quantities: tuple[Quantity, ...],
    rows: list[Comparison],
    how: dict[tuple[str, str], Result],
) -> pd.DataFrame:
    lines = []
    for arm in part.arms:
        of_arm = [c for c in rows if c.arm == arm and c.quantity in quantities]
        published = paper.published.get(arm)
        presets = [preset for preset in dict.fromkeys(c.preset for c in of_arm) if preset]
        if published and any(c.published for c in of_arm):
            source = {"": f"published [{published.evidence}]", "runs": str(len(published.runs))}
            lines.append({"arm": arm, **source, **_cells(of_arm, theirs)})
        for preset in presets:
            result = how[arm, preset]
            here = [c for c in of_arm if c.preset == preset]
            source = {"": f"ours, {preset}", "runs": str(len(result.kept.seeds))}
            costs = {"hours a seed": f"{hours_a_seed(result):.2g}", "device": device(result)}
            lines.append({"arm": arm, **source, **_cells(here, ours), **costs})
        if not presets:
            lines.append({"arm": arm, "": "ours: not run"})
    columns = [*LEFT, *(header(q) for q in quantities), "hours a seed", "device"]
    frame = pd.DataFrame([{column: line.get(column, "") for column in columns} for line in lines])
    frame["arm"] = frame["arm"].where(~frame["arm"].duplicated(), "")
    return frame[[column for column in columns if column in LEFT or (frame[column] != "").any()]]


def _cells(rows: list[Comparison], cell: Callable[[Comparison], str]) -> dict[str, str]:
    return {header(c.quantity): cell(c) for c in rows}


def count(rows: list[Comparison]) -> list[str]:
    """For every preset a sentence: how many quantities are inside, and how many of an exact repetition would be."""
    sentences = []
    for preset in dict.fromkeys(c.preset for c in rows if c.preset):
        compared = [c for c in rows if c.preset == preset and decided(c)]
        if compared:
            inside = sum(c.verdict == "inside" for c in compared)
            expected = sum(chance_inside(len(c.published), len(c.ours)) for c in compared)
            sentences.append(
                f"Preset {preset}: {inside} of {len(compared)} quantities inside; of an exact repetition on average "
                f"{expected:.1f}."
            )
    return sentences


def terminal(frame: pd.DataFrame, note: str) -> Table:
    """The table for a terminal of 120 columns, without what the runs cost: under every arm's name its rows."""
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    drawn.collapse_padding, drawn.caption, drawn.caption_justify = True, escape(note) + "\n", "left"
    quantities = [name for name in frame if name not in (*LEFT, "hours a seed", "device")]
    drawn.add_column("", no_wrap=True)
    for name in quantities:
        drawn.add_column(name, justify="right")
    for _, row in frame.iterrows():
        if row["arm"]:
            drawn.add_row(f"[bold]{escape(row['arm'])}")
        runs = f", {row['runs']}" if row["runs"] else ""
        drawn.add_row(escape(f"  {row['']}{runs}"), *(escape(row[name].replace(" [", "\n[")) for name in quantities))
    return drawn


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub table; the arm's name as code."""
    cells = frame.assign(arm=[f"`{arm}`" if arm else "" for arm in frame["arm"]])
    lines = [list(frame), ["---"] * len(frame.columns), *cells.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("\n", "<br>") for cell in line) + " |" for line in lines)
