"""The tables of `posterior_quality`: means over seeds with intervals, for machines and for people."""

import numpy as np
import pandas as pd

from al_jax import results
from experiments.posterior_quality.references import POSTERIORS, TASKS, Sizes, applies

MEASURES = (
    "mean_error",
    "bald_rank",
    "bald_top",
    "nll",
    "joint_nll",
    "nll_excess",
    "joint_nll_excess",
    "ece",
    "r_hat",
    "divergences",
    "fit_seconds",
    "predict_seconds",
    "compile_seconds",
)


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of every measure, with Student's 95 % interval in <measure>_low and _high; r_hat: the largest."""
    groups = table.groupby(["task", "posterior"], sort=False)
    columns = {"seeds": groups["seed"].nunique(), "samples": groups["samples"].first()}
    for measure in MEASURES:
        values = groups[measure]
        if measure in ("r_hat", "divergences", "compile_seconds"):
            columns[measure] = values.sum(min_count=1) if measure == "divergences" else values.max()
            continue
        interval = results.mean_interval(values, 0.95)
        columns |= {measure: interval["mean"], f"{measure}_low": interval["low"], f"{measure}_high": interval["high"]}
    return pd.DataFrame(columns).reset_index()


def formatted(summary: pd.DataFrame, task: str, sizes: Sizes) -> tuple[pd.DataFrame, str]:
    """The table of one task as people read it, all strings, and the note that goes below."""
    rows = summary[summary["task"] == task]

    def cells(measure: str, digits: int, times: float = 1.0, half: bool = True) -> list[str]:
        means = times * rows[measure]
        halves = times * (rows[f"{measure}_high"] - rows[measure]) if half else pd.Series(np.nan, rows.index)
        return [
            "-" if np.isnan(mean) else f"{mean:.{digits}f}" + ("" if np.isnan(h) else f" ±{h:.{digits}f}")
            for mean, h in zip(means, halves, strict=True)
        ]

    regression, tau = TASKS[task].regression, 2 * sizes.near
    columns = {
        "posterior": list(rows["posterior"]),
        "K": ["-" if np.isnan(k) else f"{k:.0f}" for k in rows["samples"]],
        "mean\nerror\n" + ("of a std" if regression else "TV, %"): cells("mean_error", 2, 1.0 if regression else 100),
        "BALD\nrank\ncorrelation": cells("bald_rank", 2),
        f"BALD\ntop {sizes.top}\nshared, %": cells("bald_top", 0, 100),
        "NLL\nnats": cells("nll", 3, half=False),
        "minus\njudge's": cells("nll_excess", 3),
        "joint\nNLL\nnats": cells("joint_nll", 3, half=False),
        "minus\njudge's ": cells("joint_nll_excess", 3),
        "ECE\n%": cells("ece", 1, 100, half=False),
        "R-hat": cells("r_hat", 3, half=False),
        "fit\ns": cells("fit_seconds", 2, half=False),
        "predict\ns": cells("predict_seconds", 2, half=False),
    }
    if regression:
        del columns["ECE\n%"]
    judge = "the closed form" if regression else f"a run of NUTS, {sizes.chains} x {sizes.draws} draws"
    again = "exact draws" if regression else "random draws of another such run"
    counts = rows.set_index("posterior")["divergences"]
    diverged = ", ".join(f"{name} {count:.0f}" for name, count in counts[counts > 0].items()) or "none"
    absent = [name for name in POSTERIORS if not applies(name, TASKS[task])]
    note = (
        f"judge: {judge}; reference: {sizes.samples} {again}, the error that draws alone make.\n"
        f"Mean over {rows['seeds'].max()} seeds ± half its 95 % interval; R-hat: the largest. Divergences: {diverged}. "
        f"Shared by chance: {100 * sizes.top / sizes.pool:.0f} %.\n"
        f"NLL, and joint NLL of {tau} test labels together, in nats a label. A dash: not applicable, as is the rank of "
        "scores that are all equal."
        + (f"\nNot applicable to a linear model, which has no hidden units: {', '.join(absent)}." if absent else "")
    )
    return pd.DataFrame(columns), note
