import io
import warnings

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from al_jax import results

INF = float("inf")


def campaign(**curves):
    """rounds from `method=[curve of seed 0, curve of seed 1, ...]`; round r has 10 + 10 r labels."""
    rows = [
        (method, seed, r, 10 + 10 * r, accuracy, 1 - accuracy)
        for method, seeds in curves.items()
        for seed, curve in enumerate(seeds)
        for r, accuracy in enumerate(curve)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "round", "num_labelled", "accuracy", "nll"])


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    return campaign(random=rng.uniform(0.5, 0.9, (5, 4)), bald=rng.uniform(0.6, 1.0, (5, 4)))


def shuffled(rounds):
    return rounds.sample(frac=1, random_state=1)


# labels needed


def test_labels_to_accuracy_is_the_first_total_at_or_above_the_threshold_and_inf_for_a_seed_that_never_arrives():
    rounds = campaign(random=[[0.5, 0.9, 0.8, 0.95], [0.5, 0.6, 0.7, 0.899]], bald=[[0.9, 0.9, 0.9, 0.9]])
    needed = results.labels_to_accuracy(rounds, 0.9)
    assert needed.to_numpy().tolist() == [["random", 0, 20.0], ["random", 1, INF], ["bald", 0, 10.0]]
    assert list(needed) == ["method", "seed", "labels"]


def test_an_accuracy_that_is_nan_arrives_nowhere():
    assert results.labels_to_accuracy(campaign(a=[[np.nan, np.nan]]), 0.0)["labels"].tolist() == [INF]


@pytest.mark.parametrize("threshold", [90, -0.1, np.nan])
def test_a_threshold_is_a_share_not_a_percentage(threshold, noisy):
    with pytest.raises(ValueError, match="threshold"):
        results.labels_to_accuracy(noisy, threshold)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.0, 1.0, 3.0, 2.0, 5.0], (2, 3, 4)),  # positions 1, 2 and 3 of the sorted values
        ([1.0, 2.0, 3.0, 4.0], (2, 3, 3)),  # positions 0.75, 1.5 and 2.25, halves to the even one
        ([10.0, 20.0], (10, 10, 20)),
        ([7.0], (7, 7, 7)),
        ([1.0, 2.0, INF, INF], (2, INF, INF)),
        ([1.0, INF, INF], (1, INF, INF)),  # NumPy rounds 0.5 to 0
        ([INF] * 4, (INF, INF, INF)),
    ],
)
def test_quartiles_are_always_one_of_the_values_and_never_nan(values, expected):
    with warnings.catch_warnings(action="error"):
        assert results.quartiles(values) == expected


# area under the budget curve


def test_aubc_by_hand():
    # trapezoids of width 10: (0.5 + 0.7)/2, (0.7 + 0.8)/2 -> 6 + 7.5 over a range of 20
    rounds = campaign(a=[[0.5, 0.7, 0.8]])
    assert results.aubc(rounds)["aubc"].item() == pytest.approx(13.5 / 20)
    assert results.aubc(rounds, "nll")["aubc"].item() == pytest.approx(1 - 13.5 / 20)


def test_aubc_of_a_constant_is_the_constant_on_an_uneven_grid():
    rounds = campaign(a=[[0.7] * 4]).assign(num_labelled=[3, 4, 40, 100])
    assert results.aubc(rounds)["aubc"].item() == pytest.approx(0.7)


def test_aubc_does_not_read_the_order_of_the_rows(noisy):
    a, b = (results.aubc(r).set_index(["method", "seed"])["aubc"] for r in (noisy, shuffled(noisy)))
    pd.testing.assert_series_equal(a.sort_index(), b.sort_index())


def test_aubc_is_nan_for_a_seed_that_stopped_early_and_a_single_point_gives_its_value():
    rounds = campaign(a=[[0.5, 0.7, 0.8], [0.5, 0.9]], b=[[0.6], [0.65]])
    assert results.aubc(rounds)["aubc"].tolist() == pytest.approx([13.5 / 20, np.nan, 0.6, 0.65], nan_ok=True)


def test_a_round_written_twice_counts_once_and_as_it_was_last():
    rounds = campaign(a=[[0.5, 0.7]])
    again = pd.concat([rounds, rounds[rounds["round"] == 1].assign(accuracy=0.9)])
    assert results.aubc(again)["aubc"].item() == pytest.approx(0.7)
    assert results.curve(again)["mean"].tolist() == [0.5, 0.9]
    assert results.curve(again)["seeds"].tolist() == [1, 1]


# paired differences


def test_paired_difference_is_scipys_paired_t_interval_at_the_last_common_budget(noisy):
    found = results.paired_difference(shuffled(noisy), "random").iloc[0]
    last = noisy[noisy["num_labelled"] == 40]
    a, b = (last[last["method"] == m].sort_values("seed")["accuracy"].to_numpy() for m in ("random", "bald"))
    reference = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (found["method"], found["at"], found["pairs"]) == ("bald", 40, 5)
    np.testing.assert_allclose(found[["mean", "low", "high"]].astype(float), [np.mean(b - a), *reference])


def test_paired_difference_by_hand_at_a_budget_and_at_a_confidence():
    # differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1/sqrt(3), t(2 degrees, 90 %) = 2.919986
    rounds = campaign(random=[[0.5, 1.0]] * 3, bald=[[0.6, 0.0], [0.7, 0.0], [0.8, 0.0]])
    found = results.paired_difference(rounds, "random", at=10, confidence=0.9).iloc[0]
    half = 2.919986 * 0.1 / 3**0.5
    np.testing.assert_allclose(found[["mean", "low", "high"]].astype(float), [0.2, 0.2 - half, 0.2 + half], rtol=1e-6)


def test_only_seeds_common_to_both_form_pairs():
    rounds = campaign(random=[[0.5], [0.6], [0.7]], bald=[[0.9], [0.6], [0.8], [0.1]])
    rounds = rounds[~((rounds["method"] == "random") & (rounds["seed"] == 0))]
    found = results.paired_difference(rounds, "random").iloc[0]
    assert found["pairs"] == 2
    assert found["mean"] == pytest.approx((0.0 + 0.1) / 2)


def test_identical_differences_give_an_interval_of_width_zero_and_one_pair_gives_none():
    rounds = campaign(random=[[0.5]] * 3, same=[[0.75]] * 3, single=[[0.75]], none=[])
    with warnings.catch_warnings(action="error"):
        found = results.paired_difference(rounds, "random").set_index("method")
    assert found.loc["same", ["mean", "low", "high", "pairs"]].tolist() == [0.25, 0.25, 0.25, 3]
    assert found.loc["single", ["mean", "low", "high", "pairs"]].astype(float).tolist() == pytest.approx(
        [0.25, np.nan, np.nan, 1], nan_ok=True
    )


def test_the_default_budget_is_the_most_that_all_methods_reached_for_a_metric_and_for_the_area():
    rounds = campaign(random=[[0.5, 0.7, 0.8]] * 2, bald=[[0.6, 0.8], [0.6, 0.9]])
    at_end, area = (results.paired_difference(rounds, "random", m).iloc[0] for m in ("accuracy", "aubc"))
    assert (at_end["at"], area["at"]) == (20, 20)
    assert at_end["mean"] == pytest.approx((0.1 + 0.2) / 2)
    assert area["mean"] == pytest.approx((0.7 + 0.75) / 2 - 0.6)  # areas up to 20 labels only


def test_a_seed_that_stopped_early_forms_no_pair():
    rounds = campaign(random=[[0.5, 0.7]] * 3, bald=[[0.6, 0.8], [0.6, 0.9], [0.1]])
    for metric in ("accuracy", "aubc"):
        assert results.paired_difference(rounds, "random", metric)["pairs"].tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"baseline": "rnadom"}, ["baseline", "'rnadom'", "'random', 'bald'"]),
        ({"metric": "f1"}, ["metric", "'f1'", "'aubc', 'accuracy', 'nll'"]),
        ({"at": 15}, ["at=15", "10, 20, 30, 40"]),
        ({"confidence": 95}, ["confidence", "95"]),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_the_choices(arguments, told, noisy):
    with pytest.raises(ValueError, match="is not") as error:
        results.paired_difference(noisy, **{"baseline": "random", **arguments})
    assert all(part in str(error.value) for part in told)


def test_methods_without_a_common_budget_are_refused():
    rounds = campaign(random=[[0.5]], bald=[[0.6]]).assign(num_labelled=[10, 15])
    with pytest.raises(ValueError, match=r"num_labelled.*'random', 'bald'"):
        results.paired_difference(rounds, "random")


@pytest.mark.parametrize("function", [results.aubc, results.curve])
def test_an_unknown_metric_a_missing_column_and_an_empty_table_are_named(function, noisy):
    with pytest.raises(ValueError, match=r"metric='f1' is not one of \['accuracy', 'nll'\]"):
        function(noisy, "f1")
    with pytest.raises(ValueError, match="seed"):
        function(noisy.drop(columns="seed"))
    with pytest.raises(ValueError, match="no rows"):
        function(noisy.iloc[:0])


# learning curves


def test_curve_is_the_mean_and_t_interval_over_seeds(noisy):
    found = results.curve(shuffled(noisy), confidence=0.9).set_index(["method", "num_labelled"])
    for at, rows in noisy.groupby(["method", "num_labelled"]):
        interval = stats.ttest_1samp(rows["accuracy"], 0).confidence_interval(0.9)
        expected = [rows["accuracy"].mean(), *interval, 5]
        np.testing.assert_allclose(found.loc[at, ["mean", "low", "high", "seeds"]].astype(float), expected)


def test_curve_keeps_the_order_of_methods_and_sorts_budgets_and_has_no_interval_for_a_single_seed():
    rounds = campaign(random=[[0.5, 0.6, 0.7]], bald=[[0.5, 0.6], [0.7, 0.8, 0.9]])
    found = results.curve(rounds.iloc[::-1])
    assert found["method"].tolist() == ["bald"] * 3 + ["random"] * 3
    assert found["num_labelled"].tolist() == [10, 20, 30] * 2
    assert found["seeds"].tolist() == [2, 2, 1, 1, 1, 1]
    assert found["low"].isna().tolist() == [False, False, True, True, True, True]


# the summary


@pytest.fixture
def two():
    return campaign(random=[[0.5, 0.7, 0.9], [0.6, 0.7, 0.8]], bald=[[0.5, 0.9, 0.95], [0.7, 0.8, 0.96]])


def test_summary_by_hand(two):
    table = results.summary(two).set_index("method")
    assert list(table.index) == ["random", "bald"]
    random, bald = table.loc["random"], table.loc["bald"]
    assert [random[f"labels_to_90_{q}"] for q in ("q25", "median", "q75")] == [30, 30, INF]
    assert [bald[f"labels_to_95_{q}"] for q in ("q25", "median", "q75")] == [30, 30, 30]
    assert (bald["seeds"], bald["complete"], bald["final_labels"]) == (2, 2, 30)
    assert bald["final_accuracy"] == pytest.approx(0.955)
    assert random["aubc"] == pytest.approx((0.7 + 0.7) / 2)
    assert bald["aubc"] == pytest.approx(((0.25 + 0.9 + 0.475) / 2 + (0.35 + 0.8 + 0.48) / 2) / 2)
    assert bald["accuracy_difference"] == pytest.approx((0.05 + 0.16) / 2)
    assert bald["aubc_difference"] == pytest.approx(bald["aubc"] - random["aubc"])
    assert bald["difference_at"] == 30
    assert random[["aubc_difference", "accuracy_difference_low"]].isna().all()


@pytest.mark.parametrize("metric", ["aubc", "accuracy"])
def test_summary_holds_the_intervals_of_paired_difference(metric, noisy):
    row, expected = results.summary(noisy).iloc[1], results.paired_difference(noisy, "random", metric).iloc[0]
    found = row[[f"{metric}_difference", f"{metric}_difference_low", f"{metric}_difference_high"]]
    assert found.tolist() == expected[["mean", "low", "high"]].tolist()


def test_summary_without_a_baseline_to_compare_with_has_no_differences(two):
    for table in (results.summary(two, baseline="entropy"), results.summary(two[two["method"] == "random"])):
        assert not [column for column in table if "difference" in column or column == "baseline"]


def test_summary_counts_the_seeds_that_got_to_the_end_and_takes_any_threshold(two):
    table = results.summary(two.drop(index=5), thresholds=(0.975,)).set_index("method")
    assert table.loc["random", ["seeds", "complete"]].tolist() == [2, 1]
    assert table.loc["random", "final_accuracy"] == 0.9
    assert table.loc["random", "aubc"] == pytest.approx(0.7)  # of the complete seed alone
    assert table.loc["bald", "labels_to_97_5_median"] == INF


# the terminal


def printed(table, width=110):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_rendered_table_reads_as_it_should_in_110_columns(two):
    # mean 10.5 points, standard error 5.5, t(1 degree) = 12.7062
    rounds = pd.concat([two, two[two["method"] == "bald"].assign(method="power bald")])
    text = printed(results.render(results.summary(rounds), title="MNIST"))
    row = next(line for line in text.splitlines() if line.startswith("bald"))
    assert row.split("  ")[0] == "bald"
    for cell in ("20 [20, 30]", "30 [30, 30]", "81.4", "95.5", "+10.5 [-59.4, 80.4]"):
        assert cell in row
    random = next(line for line in text.splitlines() if line.startswith("random"))
    assert random.split() == ["random", "30", "[30,", "never]", "never", "70.0", "85.0", "2"]
    for word in ("MNIST", "to 90 %", "to 95 %", "AUBC", "accuracy", "to random", "[95 % interval]", "[quartiles]"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 110


def test_rendered_names_are_not_read_as_markup(two):
    text = printed(results.render(results.summary(two.replace("bald", "top_k[bald]"), thresholds=(0.975,))))
    assert "top_k[bald]" in text
    assert "to 97.5 %" in text


def test_a_single_pair_is_shown_without_an_interval_and_unfinished_seeds_are_counted():
    rounds = campaign(random=[[0.5, 0.7]], bald=[[0.5, 0.9], [0.5]])
    row = next(line for line in printed(results.render(results.summary(rounds))).splitlines() if "bald" in line)
    assert "+20.0 " in row
    assert "nan" not in row
    assert row.rstrip().endswith("1/2")


def test_the_rendered_table_is_there_as_plain_strings_too(two):
    table, note = results.formatted(results.summary(two))
    assert table["method"].tolist() == list(results.summary(two)["method"])
    assert all(isinstance(value, str) for value in table.to_numpy().ravel())
    assert note.startswith("Labels: median [quartiles] over seeds.")


def test_points_are_percentage_points_with_an_interval_where_there_is_one():
    assert results.points(0.0153, -0.001, 0.032) == "+1.5 [-0.1, 3.2]"
    assert results.points(-0.0153, np.nan, np.nan) == "-1.5"
    assert results.points(np.nan, np.nan, np.nan) == ""


def test_a_table_for_a_paper_has_every_cell_with_latex_s_own_characters_escaped(two):
    latex = results.to_latex(results.summary(two.replace("bald", "top_k[b&d]")), label="tab:digits")
    table, _ = results.formatted(results.summary(two))
    lines = [line for line in latex.splitlines() if line.endswith(r"\\") and "&" in line]
    assert len(lines) == 3
    for line, row in zip(lines[1:], table.itertuples(index=False), strict=True):
        assert line.removesuffix(r" \\").split(" & ")[1:] == list(row)[1:]
    assert lines[0].startswith(r"method & \shortstack{labels\\to 90 \%} &")
    assert r"top\_k[b\&d]" in latex
    for part in (r"\begin{table}[t]", r"\toprule", r"\label{tab:digits}", r"mean in \%."):
        assert part in latex
    assert results.to_latex(results.summary(two), "Mine, 5 % better.").count("5 % better") == 1
