"""Statistics over data sets and seeds: what holds beyond one data set, and how sure that is.

A `Scores` is `[S, T]` for each method: S seeds of T data sets, the same seeds for all methods. Intervals come from the
stratified bootstrap (Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice"): seeds are drawn anew
within every data set, the same ones for all methods, for these are paired; with `tasks=True` data sets are drawn anew,
too, so that the interval also says what another collection of data sets might have shown.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from al_jax import results

Scores = Mapping[str, Float[np.ndarray, "S T"]]


def scores(rounds: Mapping[str, pd.DataFrame], metric: str = "accuracy") -> tuple[Scores, list[int], list[str]]:
    """AUBC of every method, seed and data set `{name: rounds}`; with the seeds and data sets that all methods have.

    Methods are those of all data sets. ValueError when no method, or no seed, is in all of them.
    """
    areas = {task: results.aubc(of_task, metric).dropna() for task, of_task in rounds.items()}
    methods = [
        m for m in next(iter(areas.values()))["method"].unique() if all(m in set(a["method"]) for a in areas.values())
    ]
    tables = {
        task: table[table["method"].isin(methods)].pivot(index="seed", columns="method", values="aubc").dropna()
        for task, table in areas.items()
    }
    seeds = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    if not methods or not seeds:
        raise ValueError(f"rounds: no {'seed' if methods else 'method'} is in all of {', '.join(rounds)}")
    found = {m: np.stack([table.loc[seeds, m].to_numpy() for table in tables.values()], axis=1) for m in methods}
    return found, seeds, list(tables)


def interquartile_mean(table: Float[np.ndarray, "*m S T"]) -> Float[np.ndarray, "*m"]:
    """The mean of the middle half of S T values: less noisy than the median, less moved by outliers than the mean."""
    return stats.trim_mean(table.reshape(*table.shape[:-2], -1), 0.25, axis=-1)


def average_ranks(table: Float[np.ndarray, "m S T"]) -> Float[np.ndarray, " m"]:
    """1 is the best: ranks of m methods within each seed and data set, ties sharing theirs, averaged."""
    return stats.rankdata(-table, axis=0).mean(axis=(1, 2))


def improvement(better: Float[np.ndarray, "S T"], than: Float[np.ndarray, "S T"]) -> float:
    """P(a run of one beats a run of the other), ties half, on a random data set: Mann-Whitney's U / S^2, averaged."""
    wins = better[:, None] > than[None]
    ties = better[:, None] == than[None]
    return float((wins + 0.5 * ties).mean())


def bootstrap(
    found: Scores,
    statistic: Callable[[Float[np.ndarray, "m S T"]], Float[np.ndarray, " m"]],
    *,
    tasks: bool = False,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """A statistic of every method with its stratified bootstrap interval: value, low, high, by method.

    ValueError unless 0 < confidence < 1, and for fewer than 2 seeds.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a number between 0 and 1")
    table = np.stack(list(found.values()))
    size, count = table.shape[1:]
    if size < 2:
        raise ValueError(f"scores have {size} seed: expected at least 2")
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(repeats):
        of_tasks = rng.integers(count, size=count) if tasks else np.arange(count)
        of_seeds = rng.integers(size, size=(size, count))
        drawn.append(statistic(table[:, of_seeds, of_tasks]))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    columns = {"value": statistic(table), "low": low, "high": high}
    return pd.DataFrame(columns, index=pd.Index(found, name="method"))


def gains(found: Scores, baseline: str) -> Scores:
    """Every other method's scores minus the baseline's, seed by seed. ValueError when the baseline is not there."""
    if baseline not in found:
        raise ValueError(f"baseline={baseline!r}: expected one of {', '.join(found)}")
    return {method: values - found[baseline] for method, values in found.items() if method != baseline}


def beats(found: Scores, confidence: float = 0.95) -> pd.DataFrame:
    """On how many data sets the row's method beats the column's, by a paired t-test each."""
    names = list(found)
    table = pd.DataFrame(0, index=names, columns=names)
    for row in names:
        for column in names:
            gap = found[row] - found[column]
            mean, error = gap.mean(axis=0), stats.sem(gap, axis=0)
            bound = stats.t.ppf((1 + confidence) / 2, len(gap) - 1) * error
            table.loc[row, column] = int((mean - bound > 0).sum())
    return table
