"""The page: what one should use, the tables, and whether the arms that must agree do."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from al_jax import across, results
from al_jax.campaign import store
from experiments.atlas import tuning
from experiments.atlas.arms import (
    BASELINE,
    LEVEL,
    POSTERIORS,
    REGIMES,
    REGRESSIONS,
    SAME,
    SOURCES,
    Arm,
    acquisitions_of,
)
from experiments.atlas.figures import curves, matrix
from experiments.atlas.run import kept
from experiments.atlas.text import INTRODUCTION, SHORT


def name_of(*parts: str) -> str:
    """A file name for a picture of the page."""
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(parts)).strip("_")


def draw(folder: Path, pictures: Path) -> None:
    """The pictures that `page` names, into a folder beside it."""
    pictures.mkdir(parents=True, exist_ok=True)
    for group, there in groups(folder):
        found, seeds, _ = across.scores(there)
        if len(found) < 2 or len(seeds) < 2:
            continue
        matrix(found, group.title, pictures / f"{name_of(*group)}.png")
        for data, rounds in there.items():
            if rounds["method"].nunique() > 1:
                curves(rounds, f"{data}, {group.title}", pictures / f"{name_of(data, *group[:2])}.png")


def page(folder: Path) -> str:
    """All of it, from the curves that are kept."""
    parts = [INTRODUCTION, *_tuned(folder), SHORT, *_overall(folder), *_sanity(folder)]
    for data in SOURCES:
        parts += [
            text for regime in REGIMES for posterior in POSTERIORS if (text := of_set(folder, data, regime, posterior))
        ]
    return "\n".join(parts).rstrip() + "\n"


def rounds_of(folder: Path, data: str, regime: str, posterior: str) -> pd.DataFrame | None:
    """The curves of all acquisitions there, the baseline first; None without it.

    More is better everywhere: a regression gets -log RMSE in the place of its accuracy.
    """
    tables = [kept(Arm(data, regime, posterior, acquisition), folder) for acquisition in acquisitions_of(data)]
    if tables[0] is None:
        return None
    rounds = pd.concat([t for t in tables if t is not None], ignore_index=True)
    return rounds.assign(accuracy=-np.log(rounds["rmse"])) if data in REGRESSIONS else rounds


class Group(NamedTuple):
    """Data sets that one table is made of."""

    regime: str
    posterior: str
    kind: str

    @property
    def title(self) -> str:
        """How the page calls it."""
        return f"{self.regime} budget, {self.posterior}{', regressions' * (self.kind == 'regressions')}"


def groups(folder: Path) -> Iterator[tuple[Group, dict[str, pd.DataFrame]]]:
    """Every group that has curves, and those of its data sets."""
    for group in itertools.starmap(Group, itertools.product(REGIMES, POSTERIORS, ("classes", "regressions"))):
        sets = [data for data in SOURCES if (data in REGRESSIONS) == (group.kind == "regressions")]
        found = {data: rounds_of(folder, data, group.regime, group.posterior) for data in sets}
        there = {data: rounds for data, rounds in found.items() if rounds is not None}
        if there:
            yield group, there


def _tuned(folder: Path) -> Iterator[str]:
    """What tuning chose."""
    yield "| data set | posterior | learning rate | dropout | validation NLL |\n|---|---|---:|---:|---:|"
    for data in SOURCES:
        for posterior in POSTERIORS:
            path = tuning.file_of(data, posterior, folder)
            if path.exists():
                table = store.read_table(path)
                setting, nll = tuning.chosen(table), table["nll"].min()
                yield f"| {data} | `{posterior}` | {setting.learning_rate:g} | {setting.dropout:g} | {nll:.2f} |"
    yield ""


def _overall(folder: Path) -> Iterator[str]:
    """A table a regime and posterior over all its data sets."""
    yield "## Over all data sets\n"
    for group, there in groups(folder):
        found, seeds, sets = across.scores(there)
        if len(found) < 2 or len(seeds) < 2:
            continue
        yield of_group(group, found, len(seeds), sets)


def of_group(group: Group, found: across.Scores, seeds: int, sets: list[str]) -> str:
    """The table of methods over data sets, best first, and what its intervals allow to say."""
    gains = across.gains(found, BASELINE)
    several = len(sets) > 1
    told = across.bootstrap(gains, across.interquartile_mean, tasks=several)
    ranks = across.bootstrap(found, across.average_ranks, tasks=several)
    beats = across.beats(found)
    wins, losses = beats.loc[:, BASELINE], beats.loc[BASELINE]
    ordered = told.sort_values("value", ascending=False)
    best = ordered.iloc[0]
    near = [method for method, row in ordered.iterrows() if row.high >= best.low][:8]
    below = [method for method, row in ordered.iterrows() if row.high < 0]
    lines = [
        f"### {group.title}\n",
        f"{seeds} seeds of {len(sets)} data set{'s' * several}: {', '.join(sets)}. "
        f"The intervals of these reach the best one's: {', '.join(f'`{m}`' for m in near)}."
        + (f" Below random as a whole: {', '.join(f'`{m}`' for m in below)}." if below else " None is below random.")
        + "\n",
        "| method | AUBC - random (IQM) | average rank | P(better than random) | sets won, lost |",
        "|---|---:|---:|---:|---:|",
    ]
    for method, row in ordered.iterrows():
        rank = ranks.loc[method]
        lines.append(
            f"| `{method}` | {results.points(row.value, row.low, row.high)} "
            f"| {rank.value:.1f} [{rank.low:.1f}, {rank.high:.1f}] "
            f"| {across.improvement(found[method], found[BASELINE]):.2f} | {wins[method]}, {losses[method]} |"
        )
    lines.append(f"\n![Who beats whom, {group.title}](atlas/{name_of(*group)}.png)")
    return "\n".join(lines) + "\n"


def of_set(folder: Path, data: str, regime: str, posterior: str) -> str:
    """A table of one data set; empty where there is no baseline."""
    rounds = rounds_of(folder, data, regime, posterior)
    if rounds is None:
        return ""
    summary = results.summary(rounds).set_index("method")
    budgets = sorted(rounds["num_labelled"].unique())
    at = [int(budgets[round(part * (len(budgets) - 1))]) for part in (0.25, 0.5, 1.0)]
    size = REGIMES[regime].batch * SOURCES[data].classes
    metric = "-log RMSE" if data in REGRESSIONS else "accuracy"
    lines = [
        f"## {data}, {regime} budget, {posterior}\n",
        f"{int(summary['seeds'].max())} seeds, b = {size}.\n",
        f"![Learning curves](atlas/{name_of(data, regime, posterior)}.png)\n",
        f"| method | AUBC | {metric} at {at[0]} | at {at[1]} | at {at[2]} | AUBC - random | AUBC - BALD | s a seed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    if len(summary) < 2:
        return ""
    accuracy = rounds.groupby(["method", "num_labelled"])["accuracy"].mean()
    to_bald = None
    if "bald" in summary.index:
        to_bald = results.paired_difference(rounds, "bald", "aubc").set_index("method")
    seconds = rounds.drop_duplicates(["method", "round"]).groupby("method")["seconds"].sum() / summary["seeds"]
    for method, row in summary.sort_values("aubc", ascending=False).iterrows():
        against = to_bald.loc[method] if to_bald is not None and method in to_bald.index else None
        gap = results.points(row.aubc_difference, row.aubc_difference_low, row.aubc_difference_high)
        columns = (
            f"`{method}`",
            f"{100 * row.aubc:.1f}",
            *(f"{100 * accuracy[method, labels]:.1f}" for labels in at),
            gap,
            "" if against is None else results.points(against["mean"], against.low, against.high),
            f"{seconds[method]:.2f}",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def _sanity(folder: Path) -> Iterator[str]:
    """Arms that must coincide, and random against random."""
    yield "## Sanity\n"
    first = Arm(next(iter(SOURCES)), "middle", POSTERIORS[0], "")
    for acquisition, same in SAME.items():
        one, other = (kept(first._replace(acquisition=a), folder) for a in (acquisition, same))
        if one is not None and other is not None:
            own = ["method", "seconds", "recipe"]
            equal = one.drop(columns=own).equals(other.drop(columns=own))
            yield f"- `{acquisition}` and `{same}`: {'the same curves' if equal else 'NOT the same curves'}."
    one, other = (kept(first._replace(acquisition=a), folder) for a in (LEVEL, BASELINE))
    if one is not None and other is not None:
        (gap,) = results.paired_difference(pd.concat([other, one]), BASELINE, "aubc").itertuples()
        yield f"- Random by other numbers against random: {results.points(gap.mean, gap.low, gap.high)}."
    yield ""
