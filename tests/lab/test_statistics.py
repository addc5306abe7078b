"""Differences, verdicts and penalties against brute force, hand-made cases and simulated campaigns."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from al_jax import results
from al_jax.lab import statistics


def campaigns(**accuracies):
    """`rounds` from method=[seeds, rounds]; round r has 10 + 10 r labels."""
    rows = [
        (method, seed, r, 10 + 10 * r, value)
        for method, of_method in accuracies.items()
        for seed, curve in enumerate(np.asarray(of_method))
        for r, value in enumerate(curve)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "round", "num_labelled", "accuracy"])


def noisy(seed, pairs, budgets, effect=0.0):
    """random and bald with nothing between them, and mine with an effect; all agree before the first batch."""
    generator = np.random.default_rng(seed)
    curves = generator.normal(0.8, 0.02, (3, pairs, budgets))
    curves[:, :, 0] = curves[0, :, 0]
    curves[2, :, 1:] += effect
    return campaigns(random=curves[0], bald=curves[1], mine=curves[2])


def t_by_loop(gaps):
    return max(abs(stats.ttest_1samp(column, 0).statistic) for column in gaps.T)


def test_largest_t_is_that_of_scipy_for_every_pattern_of_signs():
    gaps = np.random.default_rng(0).normal(size=(5, 3))
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=5)))
    expected = [t_by_loop(gaps * pattern[:, None]) for pattern in signs]
    np.testing.assert_allclose(statistics.largest_t(gaps, signs), expected)


def test_patterns_of_signs_are_all_there_once_up_to_a_common_sign():
    signs = statistics.sign_patterns(8)
    both = {tuple(p) for p in signs} | {tuple(-p) for p in signs}
    assert len(signs) == 128
    assert len(both) == 256


def test_the_critical_value_is_the_quantile_over_all_256_flips_of_the_residuals():
    gaps = np.random.default_rng(1).normal(1.0, 1.0, (8, 6))
    residuals = gaps - gaps.mean(axis=0)
    every = [np.array(p)[:, None] * residuals for p in itertools.product([1.0, -1.0], repeat=8)]
    found, how = statistics.critical(gaps)
    assert found == pytest.approx(np.quantile([t_by_loop(g) for g in every], 0.95, method="inverted_cdf"))
    assert how == "max-t over 6 budgets, all sign flips of 8 pairs"


def test_few_pairs_fall_back_to_bonferroni_and_say_so():
    found, how = statistics.critical(np.random.default_rng(0).normal(size=(4, 10)))
    assert found == pytest.approx(stats.t.ppf(1 - 0.05 / 2 / 10, 3))
    assert how == "Bonferroni over 10 budgets, Student's t: 4 pairs are too few for max-t"


def test_many_pairs_are_flipped_at_random_and_always_alike():
    gaps = np.random.default_rng(0).normal(size=(14, 5))
    (first, how), (second, _) = statistics.critical(gaps), statistics.critical(gaps)
    assert first == second
    assert "4096 sign flips of 14 pairs" in how
    assert 2.5 < first < 4.0, "between Student's quantile for one budget and a little above Bonferroni's for five"


@pytest.mark.parametrize("effect", [0.0, 5.0])
def test_intervals_hold_at_all_budgets_at_once_in_95_of_100_campaigns(effect):
    generator, held = np.random.default_rng(0), []
    for _ in range(400):
        gaps = np.cumsum(generator.normal(size=(8, 10)), axis=1) + effect
        t = (gaps.mean(axis=0) - effect) / stats.sem(gaps)
        held.append(np.abs(t).max() <= statistics.critical(gaps)[0])
    assert 0.92 <= np.mean(held) <= 0.98


def test_before_the_first_batch_all_agree_and_that_budget_costs_nothing():
    table = statistics.differences(noisy(0, 8, 5)).query("baseline == 'bald' and method == 'mine'")
    assert table.iloc[0][["mean", "low", "high"]].tolist() == [0, 0, 0]
    assert table["correction"].unique().tolist() == ["max-t over 4 budgets, all sign flips of 8 pairs"]


def test_differences_are_those_of_results_paired_difference():
    rounds = noisy(3, 7, 4)
    table = statistics.differences(rounds).query("baseline == 'random' and num_labelled == 30").set_index("method")
    for expected in results.paired_difference(rounds, "random", at=30).itertuples():
        assert table.loc[expected.method, "mean"] == pytest.approx(expected.mean)
        assert table.loc[expected.method, "low"] < expected.low, "wider, since it holds at all budgets"


def test_a_seed_that_stopped_early_forms_no_pair():
    rounds = noisy(0, 8, 5).query("method != 'mine' or seed != 3 or num_labelled < 30")
    table = statistics.differences(rounds)
    assert set(table.query("method == 'mine'")["pairs"]) == {7}
    assert set(table.query("method == 'bald'")["pairs"]) == {8}


def test_a_verdict_wins_loses_or_cannot_tell():
    flat = np.tile([[0.5], [0.6], [0.7]], 3)
    noise = np.array([[0.0], [0.001], [-0.001]])
    rounds = campaigns(random=flat, bald=flat + 0.2 + noise, mine=flat + 0.1, twin=flat + 0.2 + noise)
    table = statistics.verdicts(rounds, ["mine", "twin"]).set_index(["method", "baseline"])
    assert table["verdict"].to_dict() == {
        ("mine", "random"): "wins",
        ("mine", "bald"): "loses",
        ("twin", "random"): "wins",
        ("twin", "bald"): "can't tell",
    }
    assert table.loc["twin", "bald"]["sentence"].endswith("their accuracies are the same in every round")
    assert table.loc["mine", "random"]["sentence"] == (
        "mine wins against random: +10.0 [10.0, 10.0] points of AUBC, 3 seeds"
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_verdict_is_holms_and_its_interval_contains_0_exactly_when_we_cannot_tell(seed):
    rounds = noisy(seed, 6, 4, effect=0.015)
    areas = results.aubc(rounds).pivot(index="seed", columns="method", values="aubc")
    tests = [("mine", "random"), ("mine", "bald"), ("bald", "random")]
    p = [stats.ttest_rel(areas[a], areas[b]).pvalue for a, b in tests]
    adjusted = np.empty(3)
    adjusted[np.argsort(p)] = np.maximum.accumulate(np.sort(p) * [3, 2, 1])
    table = statistics.verdicts(rounds, ["mine", "bald"])
    np.testing.assert_allclose(table["p"], p)
    told = table["verdict"] != "can't tell"
    assert told.tolist() == (adjusted <= 0.05).tolist()
    assert told.tolist() == ((table["low"] > 0) | (table["high"] < 0)).tolist()


def test_one_pair_has_no_verdict_and_no_interval():
    rounds = noisy(0, 1, 3)
    table = statistics.verdicts(rounds, ["mine"])
    assert table["verdict"].tolist() == ["can't tell"] * 2
    assert "2 are needed" in table["sentence"][0]
    assert statistics.differences(rounds)["low"].isna().all()


def test_penalties_count_the_budgets_at_which_a_paired_t_test_finds_a_winner():
    generator = np.random.default_rng(5)
    curves = {"random": 0.7, "bald": 0.72, "mine": 0.8}
    rounds = campaigns(**{m: generator.normal(base, 0.02, (5, 6)) for m, base in curves.items()})
    matrix = statistics.penalties(rounds)
    for row, column in itertools.permutations(curves, 2):
        wins = 0
        for budget in (20, 30, 40, 50, 60):
            there = rounds[rounds["num_labelled"] == budget]
            a, b = (there[there["method"] == method]["accuracy"].to_numpy() for method in (row, column))
            test = stats.ttest_rel(a, b)
            wins += test.pvalue < 0.05 and test.statistic > 0
        assert matrix.loc[row, column] == pytest.approx(wins / 5)
    assert np.diag(matrix).tolist() == [0, 0, 0]
