import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from al_jax import plots, results
from al_jax.lab import statistics


def campaign(methods, seeds=3, rounds=4):
    rng = np.random.default_rng(0)
    rows = [
        (m, s, r, 10 + 10 * r, min(0.6 + 0.1 * r + 0.02 * i + rng.normal(0, 0.01), 1.0), 0.5 - 0.1 * r)
        for i, m in enumerate(methods)
        for s in range(seeds)
        for r in range(rounds)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "round", "num_labelled", "accuracy", "nll"])


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure):
    return figure.get_supxlabel()


def test_a_line_per_method_is_the_mean_of_results_curve_and_its_band_the_interval():
    rounds = campaign(["random", "bald"])
    figure = plots.learning_curves(rounds)
    curve = results.curve(rounds)
    for band, (method, line) in zip(figure.axes[0].collections, lines(figure).items(), strict=True):
        expected = curve[curve["method"] == method]
        np.testing.assert_allclose(line.get_xdata(), [10, 20, 30, 40])
        np.testing.assert_allclose(line.get_ydata(), expected["mean"])
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices}
        for side in ("low", "high"):
            assert set(zip(expected["num_labelled"], expected[side].round(9), strict=True)) <= corners


def test_the_baseline_is_grey_and_eighteen_methods_all_look_different():
    methods = ["random", *(f"m{i}" for i in range(18))]
    drawn = lines(plots.learning_curves(campaign(methods, seeds=2, rounds=2)))
    styles = {(to_hex(line.get_color()), line.get_linestyle()) for line in drawn.values()}
    assert to_hex(drawn["random"].get_color()) == plots.GREY
    assert len(styles) == 19
    assert plots.GREY not in [to_hex(drawn[m].get_color()) for m in methods[1:]]


def test_the_legend_is_ordered_as_the_lines_are():
    rounds = campaign(["random", "bald", "badge"])  # each 2 points above the one before
    assert legend(plots.learning_curves(rounds)) == ["badge", "bald", "random"]


def test_accuracy_is_in_percent_within_0_and_100_and_other_metrics_are_as_they_are():
    figure = plots.learning_curves(campaign(["random"]), title="Digits")
    axes = figure.axes[0]
    assert axes.yaxis.get_major_formatter()(0.9, 0).endswith(" %")
    assert axes.get_ylim()[1] <= 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labelled rows", "accuracy")
    assert axes.get_title(loc="left") == "Digits"
    nll = plots.learning_curves(campaign(["random"]), "nll").axes[0]
    assert not nll.yaxis.get_major_formatter()(0.9, 0).endswith("%")


@pytest.mark.parametrize(("seeds", "told"), [(3, "over 3 seeds; band: 95 %"), (1, "over 1 seed")])
def test_the_caption_says_how_many_seeds_and_what_the_band_is(seeds, told):
    found = caption(plots.learning_curves(campaign(["random"], seeds)))
    assert told in found
    assert ("band" in found) == (seeds > 1)


def test_nothing_finite_is_refused() -> None:
    rounds = pd.DataFrame({"method": "a", "seed": [0], "round": [0], "num_labelled": [2], "accuracy": [np.nan]})
    with pytest.raises(ValueError, match="metric='accuracy' is finite in no round"):
        plots.learning_curves(rounds)


def test_the_caption_tells_when_some_seeds_stopped_early():
    rounds = campaign(["random"]).query("seed > 0 or round < 2")
    assert "2 to 3 seeds" in caption(plots.learning_curves(rounds))


def test_single_rounds_single_seeds_and_values_that_are_not_finite_can_be_saved(tmp_path):
    infinite = campaign(["random", "bald"])
    infinite.loc[infinite["method"] == "bald", "nll"] = np.inf
    pictures = [(campaign(["a"], 1, 1), "accuracy"), (campaign(["a"], 3, 1), "accuracy"), (infinite, "nll")]
    for rounds, metric in pictures:
        plots.learning_curves(rounds, metric).savefig(tmp_path / "a.png", dpi=50)
        assert (tmp_path / "a.png").stat().st_size > 0
    assert legend(plots.learning_curves(infinite, "nll")) == ["random"]


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="metric='f1'"):
        plots.learning_curves(campaign(["random"]), "f1")


def test_nothing_is_left_in_pyplot_or_in_the_global_settings():
    code = "import sys, al_jax.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_comparison_has_the_curves_and_a_panel_of_differences_for_each_baseline():
    rounds = campaign(["random", "bald", "mine"], seeds=6)
    table = statistics.differences(rounds)
    figure = plots.comparison(rounds, table, "Digits", highlight=["mine"])
    curves, to_random, to_bald = figure.axes
    assert len(curves.get_lines()) == 3
    assert curves.get_title(loc="left") == "Digits"
    for axes, baseline in ((to_random, "random"), (to_bald, "bald")):
        assert axes.get_title(loc="left") == f"accuracy minus that of {baseline}, % points"
        expected = table.query("baseline == @baseline and method == 'mine'")
        assert any(np.array_equal(line.get_ydata(), expected["mean"]) for line in axes.get_lines())
        (band,) = axes.collections
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices}
        assert set(zip(expected["num_labelled"], expected["low"].round(9), strict=True)) <= corners
    assert "at all budgets at once" in caption(figure)
    assert legend(figure) == ["mine", "bald", "random"]


def test_a_figure_for_a_column_is_as_wide_as_asked_has_every_word_inside_and_is_written_as_vectors(tmp_path):
    figure = plots.column(campaign(["random", "bald", "prefilter(bald, 200, badge)"]), width=3.3)
    figure.savefig(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "a.pdf").stat().st_size < 100_000
    assert figure.get_size_inches()[0] == 3.3
    figure.savefig(tmp_path / "a.png")
    width, height = figure.canvas.get_width_height()
    axes = figure.axes[0]
    words = [*figure.legends[0].get_texts(), axes.xaxis.label, axes.yaxis.label]
    for word in words:
        box = word.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
        assert word.get_fontsize() >= 7
    assert legend(figure) == ["prefilter(bald, 200, badge)", "bald", "random"]
