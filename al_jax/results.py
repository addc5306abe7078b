"""What a finished experiment says: tidy tables of `rounds`, and the statistics of comparing methods over paired seeds.

`rounds` has one row per method, seed and round, with the columns `method`, `seed`, `round`, `num_labelled` and one per
metric; metrics belong to the `num_labelled` labels known before that round's batch. Where two rounds have the same
`num_labelled` (every answer was skipped, or a resumed run wrote a round again) the later one counts. Methods keep their
order of first appearance. Every function that reads `rounds` raises ValueError when it has no rows or lacks a column.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table
from scipy import integrate, stats

KEYS = ["method", "seed", "round", "num_labelled"]
QUARTILES = ["q25", "median", "q75"]


def _one_of(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {list(choices)}")


def _metrics(rounds: pd.DataFrame) -> list[str]:
    return [column for column in rounds if column not in KEYS]


def tidy(rounds: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per (method, seed, num_labelled), in order of methods' first appearance, seed and round.

    ValueError for an unknown metric.
    """
    if missing := set(KEYS) - set(rounds):
        raise ValueError(f"rounds lacks the columns {sorted(missing)}; it has {list(rounds)}")
    if rounds.empty:
        raise ValueError("rounds has no rows")
    _one_of("metric", metric, _metrics(rounds))
    ordered = rounds.sort_values(KEYS[:3], key=lambda c: pd.factorize(c)[0] if c.name == "method" else c)
    return ordered.drop_duplicates(["method", "seed", "num_labelled"], keep="last")


def mean_interval(values: Any, confidence: float) -> dict[str, pd.Series]:
    """Means of columns or groups, with Student's interval: mean, low, high; NaN for a single value.

    `ttest_1samp` and `t.interval` give the same, but NaN where the variance is 0. ValueError unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1")
    mean = values.mean()
    half = stats.t.ppf((1 + confidence) / 2, values.count() - 1) * values.sem()
    return {"mean": mean, "low": mean - half, "high": mean + half}


def labels_to_accuracy(rounds: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Fewest labels, the initial ones included, with accuracy >= threshold (in [0, 1]); +inf for a seed never there.

    Columns: method, seed, labels. ValueError for a threshold outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold} is not an accuracy in [0, 1]")
    tidied = tidy(rounds, "accuracy")
    labels = tidied["num_labelled"].astype(float).where(tidied["accuracy"] >= threshold, np.inf)
    return tidied.assign(labels=labels).groupby(["method", "seed"], sort=False)["labels"].min().reset_index()


def quartiles(values: Sequence[float] | np.ndarray | pd.Series) -> tuple[float, float, float]:
    """(q25, median, q75), each one of the values (NumPy's "nearest"): seeds at +inf count, and may give +inf."""
    q25, median, q75 = np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75], method="nearest")
    return float(q25), float(median), float(q75)


def aubc(rounds: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Area under the budget curve: trapezoids over num_labelled / its range, in the metric's units (Zhan et al. 2022).

    Columns: method, seed, aubc. A single point gives its value; a seed that stopped before the method's largest
    num_labelled gives NaN, since an area over other budgets is not comparable. ValueError for an unknown metric.
    """

    def area(curve: pd.DataFrame) -> float:
        x, y = curve["num_labelled"].to_numpy(float), curve[metric].to_numpy(float)
        if x[-1] < last[curve.name[0]]:
            return float("nan")
        return float(y[0] if len(x) == 1 else integrate.trapezoid(y, x) / (x[-1] - x[0]))

    tidied = tidy(rounds, metric)
    last = tidied.groupby("method")["num_labelled"].max()
    by_seed = tidied.groupby(["method", "seed"], sort=False)[["num_labelled", metric]]
    return by_seed.apply(area).rename("aubc").reset_index()


def paired_difference(
    rounds: pd.DataFrame, baseline: str, metric: str = "accuracy", at: int | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Mean over common seeds of method - baseline, with Student's interval [low, high], for every other method.

    Columns: method, at, mean, low, high, pairs. The metric is read at `at` labels, by default the most that all methods
    reached; `metric="aubc"` is the accuracy's AUBC up to `at`. Seeds without a value there form no pair; with fewer
    than 2 pairs low and high are NaN. ValueError for an unknown baseline, metric or budget, for methods without a
    common budget, or a confidence outside (0, 1).
    """
    _one_of("metric", metric, ["aubc", *_metrics(rounds)])
    is_area = metric == "aubc"
    tidied = tidy(rounds, "accuracy" if is_area else metric)
    methods = list(tidied["method"].unique())
    _one_of("baseline", baseline, methods)
    budgets = sorted(set.intersection(*(set(g.tolist()) for _, g in tidied.groupby("method")["num_labelled"])))
    if not budgets:
        raise ValueError(f"there is no num_labelled that all of {methods} have, so nowhere to compare them")
    at = budgets[-1] if at is None else at
    _one_of("at", at, budgets)
    values = aubc(tidied[tidied["num_labelled"] <= at]) if is_area else tidied[tidied["num_labelled"] == at]
    wide = values.pivot(index="seed", columns="method", values=metric)[methods]
    gaps = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    interval = mean_interval(gaps, confidence)
    return pd.DataFrame({"at": at, **interval, "pairs": gaps.count()}).rename_axis("method").reset_index()


def curve(rounds: pd.DataFrame, metric: str = "accuracy", confidence: float = 0.95) -> pd.DataFrame:
    """Learning curves: mean over seeds, and Student's interval [low, high] for it, NaN where there is a single seed.

    Columns: method, num_labelled, mean, low, high, seeds: how many have a value there.
    ValueError for an unknown metric, or a confidence outside (0, 1).
    """
    values = tidy(rounds, metric).groupby(["method", "num_labelled"])[metric]
    interval = mean_interval(values, confidence)
    table = pd.DataFrame({**interval, "seeds": values.count()})
    return table.reindex(rounds["method"].unique(), level="method").reset_index()


def summary(rounds: pd.DataFrame, thresholds: Sequence[float] = (0.90, 0.95), baseline: str = "random") -> pd.DataFrame:
    """One row per method: labels needed, AUBC, final accuracy and, paired by seed, their differences to the baseline.

    Columns: method; seeds; complete: those that reached final_labels, the method's most labels, and over which aubc and
    final_accuracy are means; labels_to_90_q25, _median, _q75 for a threshold of 0.90 (0.975: labels_to_97_5_...).
    When `baseline` is one of several methods also baseline (its name); difference_at, the most labels that all methods
    reached; aubc_difference, _low, _high; accuracy_difference, _low, _high: 95 % intervals as of `paired_difference`
    at that budget, NaN in the baseline's own row. ValueError for a threshold outside [0, 1] and as of
    `paired_difference`.
    """
    final = curve(rounds).groupby("method", sort=False).tail(1).set_index("method")
    table = pd.DataFrame(
        {
            "seeds": rounds.groupby("method")["seed"].nunique(),
            "complete": final["seeds"],
            "final_labels": final["num_labelled"],
            "final_accuracy": final["mean"],
            "aubc": aubc(rounds).groupby("method")["aubc"].mean(),
        }
    ).loc[final.index]
    for threshold in thresholds:
        name = f"labels_to_{100 * threshold:g}".replace(".", "_")
        labels = labels_to_accuracy(rounds, threshold).groupby("method")["labels"]
        columns = [f"{name}_{quartile}" for quartile in QUARTILES]
        found = {method: quartiles(values) for method, values in labels}
        table = table.join(pd.DataFrame.from_dict(found, orient="index", columns=columns))
    if baseline in table.index and len(table) > 1:
        table["baseline"] = baseline
        for metric in ("aubc", "accuracy"):
            gap = paired_difference(rounds, baseline, metric).set_index("method")
            table["difference_at"] = gap["at"].iloc[0]
            for column, source in {"": "mean", "_low": "low", "_high": "high"}.items():
                table[f"{metric}_difference{column}"] = gap[source]
    return table.reset_index()


def final(rounds: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Metrics at each method's most labels, as people read them: strings, a row per method, headers as columns.

    "0.62 [0.58, 0.66]" is the mean over seeds with Student's 95 % interval. ValueError for an unknown metric.
    """
    columns: dict[str, list[str]] = {}
    for metric in metrics:
        last = curve(rounds, metric).groupby("method", sort=False).tail(1)
        columns |= {"method": list(last["method"]), "labels": [str(n) for n in last["num_labelled"]]}
        columns[metric] = [
            f"{mean:.3g}" + ("" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]")
            for mean, low, high in last[["mean", "low", "high"]].itertuples(index=False)
        ]
        columns["seeds"] = columns.pop("seeds", [str(n) for n in last["seeds"]])
    return pd.DataFrame(columns)


def formatted(summary: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table of `summary` as people read it, all strings, and the note that goes below.

    Accuracies are in %, differences in percentage points. Labels needed are "median [q25, q75]", where "never" is +inf;
    seeds "9/10" means that 9 of 10 got to the end. Headers have line breaks.
    """

    def labels(*quartiles: float) -> str:
        low, median, high = ("never" if v == np.inf else f"{v:.0f}" for v in quartiles)
        return "never" if low == "never" else f"{median} [{low}, {high}]"

    columns: dict[str, list[str]] = {"method": list(summary["method"])}
    for name in [c.removesuffix("_median") for c in summary if c.endswith("_median")]:
        percent = name.removeprefix("labels_to_").replace("_", ".")
        columns[f"labels\nto {percent} %"] = list(map(labels, *(summary[f"{name}_{q}"] for q in QUARTILES)))
    columns["AUBC"] = [f"{100 * v:.1f}" for v in summary["aubc"]]
    columns["final\naccuracy"] = [f"{100 * v:.1f}" for v in summary["final_accuracy"]]
    note = "Labels: median [quartiles] over seeds. AUBC, accuracy: mean in %."
    if "baseline" in summary:
        for metric, what in {"aubc": "of AUBC", "accuracy": "at the end"}.items():
            header = f"difference\nto {summary['baseline'].iloc[0]}\n{what}\n[95 % interval]"
            gaps = (summary[f"{metric}_difference{suffix}"] for suffix in ("", "_low", "_high"))
            columns[header] = list(map(points, *gaps))
        note += f"\nDifferences: % points, paired by seed, up to {summary['difference_at'].iloc[0]} labels."
    columns["seeds"] = [
        f"{n}" if n == done else f"{done}/{n}" for n, done in zip(summary["seeds"], summary["complete"], strict=True)
    ]
    return pd.DataFrame(columns), note


def to_latex(summary: pd.DataFrame, caption: str | None = None, label: str | None = None) -> str:
    """The table of `summary` for a paper: a LaTeX `table` with booktabs rules, its note below or as its `caption`."""
    columns, note = formatted(summary)
    told = caption or " ".join(note.split("\n")).replace("%", r"\%")
    by_place = "l" + "r" * (columns.shape[1] - 1)

    def stacked(header: str) -> str:
        return header if "\n" not in header else rf"\shortstack{{{header.replace(chr(10), chr(92) * 2)}}}"

    styled = columns.style.hide(axis="index").format(escape="latex").format_index(stacked, escape="latex", axis=1)
    options = {"hrules": True, "position": "t", "position_float": "centering"}
    return styled.to_latex(caption=told, label=label, column_format=by_place, **options)


def points(mean: float, low: float, high: float) -> str:
    """A difference of shares in percentage points, with its interval where there is one: "+1.5 [-0.1, 3.2]"."""
    interval = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return "" if np.isnan(mean) else f"{100 * mean:+.1f}{interval}"


def render(summary: pd.DataFrame, title: str | None = None) -> Table:
    """The table of `summary` for a terminal of 100-120 columns, as `formatted` writes it."""
    columns, note = formatted(summary)
    return text_table(columns, title, note)


def text_table(columns: pd.DataFrame, title: str | None = None, note: str | None = None) -> Table:
    """Strings for a terminal: the first column to the left, the others to the right, the note below."""
    # To rich the end of a method called "top_k[bald]" is a style, and so is "[quartiles]".
    table = Table(title=title and escape(title), box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.collapse_padding, table.caption, table.caption_justify = True, note and escape(note), "left"
    for place, header in enumerate(columns):
        table.add_column(escape(header), justify="right" if place else "left")
    for row in columns.itertuples(index=False):
        table.add_row(*map(escape, row))
    return table
