"""Is it better? Paired differences at every budget, verdicts and penalties, corrected for looking often.

All pair methods by seed: two campaigns of one seed start from the same rows and the same networks.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from al_jax import results

FEWEST_FLIPPED = 6
"""Pairs below which signs have too few patterns for a 95 % quantile: 2^5 / 2 = 16."""
MOST_FLIPPED = 12
"""Pairs above which not all patterns are enumerated."""
SAMPLED = 4096
SAME = 1e-12
"""Differences of shares that are rounding errors."""


def paired(rounds: pd.DataFrame, method: str, baseline: str, metric: str = "accuracy") -> pd.DataFrame:
    """method - baseline: a row for each seed, a column for each number of labels that both reached with every seed.

    Seeds that either of them stopped early are left out.
    """
    table = results.tidy(rounds[rounds["method"].isin([method, baseline])], metric)
    wide = table.pivot(index=["method", "seed"], columns="num_labelled", values=metric)
    gaps = wide.loc[method] - wide.loc[baseline]
    gaps = gaps.loc[:, gaps.notna().any()]  # budgets that both have
    return gaps[gaps.notna().all(axis=1)]


def sign_patterns(pairs: int) -> Float[np.ndarray, "patterns pairs"]:
    """All patterns of signs up to a common one, which changes no |t|; random ones where they are too many."""
    if pairs > MOST_FLIPPED:
        return np.random.default_rng(0).choice([-1.0, 1.0], (SAMPLED, pairs))
    return np.array([(1.0, *signs) for signs in itertools.product([1.0, -1.0], repeat=pairs - 1)])


def largest_t(
    gaps: Float[np.ndarray, "pairs budgets"], signs: Float[np.ndarray, "patterns pairs"]
) -> Float[np.ndarray, " patterns"]:
    """max over budgets of Student's |t| of the differences, each pair's with its sign of the pattern."""
    pairs = len(gaps)
    mean = signs @ gaps / pairs
    variance = np.maximum((gaps**2).sum(0) - pairs * mean**2, 0.0) / (pairs - 1)  # a sign changes no square
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / np.sqrt(variance / pairs)
    return np.nan_to_num(t, nan=0.0, posinf=np.inf).max(axis=1)


def critical(gaps: Float[np.ndarray, "pairs budgets"], confidence: float = 0.95) -> tuple[float, str]:
    """How many standard errors an interval of the mean reaches, to cover at all budgets at once, and by which method.

    The maximum of |t| over the budgets has the distribution it has when the signs of the seeds' residuals are flipped
    in all 2^pairs ways (max-t: Westfall & Young 1993; with residuals: Mammen 1993). Budgets of one campaign are alike,
    and this uses it; Bonferroni's correction does not. In simulations with 6, 8 and 12 pairs and 20 budgets it covered
    94 to 96 %, whatever the differences; flipping the differences themselves, exact for the hypothesis of none, covered
    55 % where they are large. With fewer than 6 pairs there are too few patterns: Bonferroni's, with Student's t.
    """
    pairs, budgets = gaps.shape
    if pairs < 2:
        return float("nan"), "no interval: fewer than 2 pairs"
    if budgets == 0:
        return 0.0, "no difference at any budget"
    if pairs < FEWEST_FLIPPED:
        quantile = stats.t.ppf(1 - (1 - confidence) / 2 / budgets, pairs - 1)
        return float(quantile), f"Bonferroni over {budgets} budgets, Student's t: {pairs} pairs are too few for max-t"
    found = np.sort(largest_t(gaps - gaps.mean(axis=0), sign_patterns(pairs)))
    how = f"max-t over {budgets} budgets, {'all' if pairs <= MOST_FLIPPED else SAMPLED} sign flips of {pairs} pairs"
    return float(found[int(np.ceil(confidence * len(found))) - 1]), how


def differences(
    rounds: pd.DataFrame,
    baselines: Sequence[str] = ("random", "bald"),
    metric: str = "accuracy",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean over seeds of method - baseline at every budget, for every other method and each of `baselines`.

    Columns: baseline, method, num_labelled, mean, low, high, pairs, correction. The intervals of a method and a
    baseline hold at all budgets at once (see `critical`): the picture may be looked at anywhere. Where all seeds
    differ by the same, as before the first batch, low = mean = high and the budget counts for nothing.
    """
    tables = []
    for baseline, method in itertools.product(baselines, rounds["method"].unique()):
        if method == baseline:
            continue
        gaps = paired(rounds, method, baseline, metric)
        error = gaps.sem()
        reach, correction = critical(gaps.loc[:, error > SAME].to_numpy(), confidence)
        half = (error * reach).where(error > SAME, 0.0) if len(gaps) > 1 else np.nan
        interval = {"mean": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half, "pairs": len(gaps)}
        table = pd.DataFrame(interval).reset_index().assign(baseline=baseline, method=method, correction=correction)
        tables.append(table)
    columns = ["baseline", "method", "num_labelled", "mean", "low", "high", "pairs", "correction"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def penalties(rounds: pd.DataFrame, metric: str = "accuracy", confidence: float = 0.95) -> pd.DataFrame:
    """Share of the budgets at which the method of the row beats that of the column (Ash et al. 2020, section 4).

    To beat is a paired two-sided t-test at that confidence, uncorrected as in the paper; the initial labels, from which
    nothing was acquired yet, do not count. The paper adds such matrices over tasks, and takes budgets M + B 2^m where
    this takes all. The lower the mean of a column, the less often that method is beaten.
    """
    methods = list(rounds["method"].unique())
    matrix = pd.DataFrame(0.0, index=methods, columns=methods)
    for row, column in itertools.permutations(methods, 2):
        gaps = paired(rounds, row, column, metric).iloc[:, 1:]
        if len(gaps) < 2 or gaps.empty:
            matrix.loc[row, column] = np.nan
            continue
        reach = stats.t.ppf((1 + confidence) / 2, len(gaps) - 1) * gaps.sem()
        matrix.loc[row, column] = float((gaps.mean() > reach).mean())
    return matrix.rename_axis(index="beats", columns="is beaten")


def verdicts(
    rounds: pd.DataFrame,
    methods: Sequence[str],
    baselines: Sequence[str] = ("random", "bald"),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Whether each of `methods` wins against, loses against, or cannot be told from, each of `baselines`.

    The effect is the mean over seeds of the difference of the areas under the accuracy curves (AUBC), tested by paired
    t-tests with Holm's (1979) correction over all these comparisons. Columns: method, baseline, verdict ("wins",
    "loses", "can't tell"), effect, low, high, p (uncorrected), pairs, comparisons, sentence. [low, high] is the
    interval at the level at which Holm's procedure tested, or stopped: it contains 0 exactly where we can't tell.
    """
    compared = [(m, b) for m in methods for b in baselines if m != b]
    gaps = [_area_gaps(rounds, *pair) for pair in compared]
    p = [_p_value(gap) for gap in gaps]
    rejected, left = set[int](), len(compared)
    levels = {}
    for index in np.argsort(np.nan_to_num(p, nan=1.0), kind="stable").tolist():
        levels[index] = (1 - confidence) / left
        if not p[index] <= levels[index]:
            break
        rejected.add(index)
        left -= 1
    rows = []
    for index, ((method, baseline), gap) in enumerate(zip(compared, gaps, strict=True)):
        level = levels.get(index, (1 - confidence) / max(left, 1))
        effect, pairs = float(gap.mean()), len(gap)
        half = float(stats.t.ppf(1 - level / 2, pairs - 1) * gap.sem()) if pairs > 1 else np.nan
        verdict = "can't tell" if index not in rejected else "wins" if effect > 0 else "loses"
        found = {"verdict": verdict, "effect": effect, "low": effect - half, "high": effect + half, "p": p[index]}
        row = {"method": method, "baseline": baseline} | found | {"pairs": pairs, "comparisons": len(compared)}
        rows.append(row | {"sentence": _sentence(row, bool((gap.abs() < SAME).all()))})
    columns = ["method", "baseline", "verdict", "effect", "low", "high", "p", "pairs", "comparisons", "sentence"]
    return pd.DataFrame(rows, columns=columns)


def _area_gaps(rounds: pd.DataFrame, method: str, baseline: str) -> pd.Series:
    """Difference of AUBC, in shares, for each seed."""
    two = rounds[rounds["method"].isin([method, baseline])]
    last = two.groupby("method")["num_labelled"].max().min()
    areas = results.aubc(two[two["num_labelled"] <= last]).pivot(index="seed", columns="method", values="aubc")
    return (areas[method] - areas[baseline]).dropna()


def _p_value(gaps: pd.Series) -> float:
    """Of the two-sided t-test that the mean is 0; scipy's is NaN where all differences are the same."""
    if len(gaps) < 2:
        return float("nan")
    if np.ptp(gaps) < SAME:
        return 0.0 if abs(gaps.mean()) > SAME else 1.0
    return float(stats.ttest_1samp(gaps, 0.0).pvalue)


def _sentence(row: dict, same: bool) -> str:
    method, baseline, pairs = row["method"], row["baseline"], row["pairs"]
    effect = f"{results.points(row['effect'], row['low'], row['high'])} points of AUBC"
    if pairs < 2:
        return f"can't tell {method} from {baseline}: {pairs} pairs of seeds ended, 2 are needed"
    if same:
        return f"can't tell {method} from {baseline}: their accuracies are the same in every round"
    if row["verdict"] == "can't tell":
        return f"can't tell {method} from {baseline}: {effect}, {pairs} seeds"
    return f"{method} {row['verdict']} against {baseline}: {effect}, {pairs} seeds"
