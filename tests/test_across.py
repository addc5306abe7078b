"""Statistics over data sets and seeds against loops, SciPy, and worlds in which the answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from al_jax import across

RNG = np.random.default_rng(0)


def world(seeds=12, tasks=3, **means):
    base = RNG.normal(0, 0.02, (seeds, tasks)) + np.array([0.6, 0.8, 0.9])[:tasks]  # seeds and data sets differ
    return {name: base + mean + RNG.normal(0, 0.005, (seeds, tasks)) for name, mean in means.items()}


def mean(table):
    return table.mean(axis=(1, 2))


def rounds_of(curves):
    rows = [
        (method, seed, r, 10 + 10 * r, value)
        for (method, seed), curve in curves.items()
        for r, value in enumerate(curve)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "round", "num_labelled", "accuracy"])


def test_scores_are_areas_of_the_seeds_and_methods_that_all_data_sets_have():
    first = rounds_of({("a", 0): [0.5, 0.7], ("a", 1): [0.6, 0.8], ("b", 0): [0.4, 0.4], ("b", 1): [0.2, 0.4]})
    second = rounds_of({("a", 1): [0.9, 0.9], ("b", 1): [0.8, 1.0], ("c", 1): [0.1, 0.1]})
    found, seeds, tasks = across.scores({"one": first, "two": second})
    assert (seeds, tasks) == ([1], ["one", "two"])
    np.testing.assert_allclose(found["a"], [[0.7, 0.9]])
    np.testing.assert_allclose(found["b"], [[0.3, 0.9]])
    assert set(found) == {"a", "b"}
    with pytest.raises(ValueError, match="no seed is in all of one, three"):
        across.scores({"one": first, "three": second.assign(seed=7)})


def test_the_interquartile_mean_is_that_of_the_middle_half():
    values = RNG.normal(size=(8, 5))
    middle = np.sort(values, axis=None)[10:30]
    assert across.interquartile_mean(values) == pytest.approx(middle.mean())
    both = across.interquartile_mean(np.stack([values, values + 1]))
    assert both == pytest.approx([middle.mean(), middle.mean() + 1])


def test_ranks_and_improvement_are_those_of_loops():
    found = {name: np.round(values, 2) for name, values in world(5, 2, a=0.0, b=0.02, c=0.0).items()}
    ranks = dict.fromkeys(found, 0.0)
    for s in range(5):
        for t in range(2):
            for name in found:
                above = sum(found[other][s, t] > found[name][s, t] for other in found)
                equal = sum(found[other][s, t] == found[name][s, t] for other in found)
                ranks[name] += (above + (equal + 1) / 2) / 10
    assert across.average_ranks(np.stack(list(found.values()))) == pytest.approx(list(ranks.values()))
    u = [stats.mannwhitneyu(found["b"][:, t], found["a"][:, t]).statistic / 25 for t in range(2)]
    assert across.improvement(found["b"], found["a"]) == pytest.approx(np.mean(u))
    assert across.improvement(found["a"], found["a"]) == 0.5


def test_the_bootstrap_covers_what_is_true_as_often_as_it_says():
    hits = 0
    for trial in range(60):
        found = world(20, 3, random=0.0, mine=0.01)
        gap = across.gains(found, "random")
        (row,) = across.bootstrap(gap, mean, repeats=200, seed=trial).itertuples()
        hits += row.low <= 0.01 <= row.high
    assert hits >= stats.binom.ppf(0.001, 60, 0.9), "the percentile bootstrap of 20 seeds is a little narrow"


def test_seeds_stay_paired_and_another_draw_of_data_sets_widens():
    found = world(20, 3, random=0.0, mine=0.01)
    found["mine"] += np.array([0.05, 0.0, -0.05])  # it depends on the data set
    gap = across.gains(found, "random")
    narrow, wide = (across.bootstrap(gap, mean, tasks=tasks).iloc[0] for tasks in (False, True))
    assert narrow.high - narrow.low < 0.01, "seeds' own levels cancel"
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert narrow.value == wide.value == pytest.approx(gap["mine"].mean())
    again = across.bootstrap(gap, mean)
    pd.testing.assert_frame_equal(again, across.bootstrap(gap, mean))


def test_who_beats_whom_counts_data_sets():
    found = world(20, 3, random=0.0, mine=0.02)
    table = across.beats(found)
    assert table.loc["mine", "random"] == 3
    assert table.loc["random", "mine"] == table.loc["mine", "mine"] == 0
    for t in range(3):
        assert stats.ttest_rel(found["mine"][:, t], found["random"][:, t]).pvalue < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: across.gains(world(a=0.0), "random"), "baseline='random': expected one of a"),
        (lambda: across.bootstrap(world(1, a=0.0), across.average_ranks), "scores have 1 seed"),
        (lambda: across.bootstrap(world(a=0.0), across.average_ranks, confidence=2), "confidence=2: expected"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
