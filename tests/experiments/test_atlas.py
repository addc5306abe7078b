"""The atlas: arms are kept one by one, shards are parts of one whole, and the page is made of what there is."""

import re

import numpy as np
import pandas as pd
import pytest

from al_jax import vocabulary
from experiments.atlas import run as of_run
from experiments.atlas import tuning
from experiments.atlas.__main__ import main
from experiments.atlas.arms import (
    ACQUISITIONS,
    BASELINE,
    LEVEL,
    REGIMES,
    RESULTS,
    SAME,
    SOURCES,
    Arm,
    Regime,
    Setting,
    arms,
    experiment_of,
    file_of,
)
from experiments.atlas.page import of_set, page
from experiments.atlas.run import differences, kept, missing, share

THREE = ["--only", *(f"digits/low/mc_dropout/{acquisition}" for acquisition in ("random", "margin", "badge"))]
SEEDS = 4  # a whole block


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small(monkeypatch)


def small(patch):
    patch.setitem(REGIMES, "low", Regime(1, 1, 3))
    patch.setattr(tuning, "SWEEP", {"learning_rate": (1e-3, 3e-3), "dropout": (0.25,)})
    patch.setattr(tuning, "DRAWS", 1)


def atlas(monkeypatch, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["atlas", *options])
    main()


@pytest.mark.parametrize("text", [*ACQUISITIONS, *SAME, LEVEL])
def test_every_acquisition_is_an_expression(text):
    assert vocabulary.expression("acquisition", text).text


def test_every_public_method_that_needs_no_other_labels_is_in_it():
    """Combinators appear around others; these are left to their own pages."""
    named = set(re.findall(r"\w+", " ".join((*ACQUISITIONS, *SAME, LEVEL))))
    missed = set(vocabulary.names("acquisition")) - named
    of_other_labels = {"aggregate", "multi_label", "variance", "gaussian_bald", "gaussian_information_gain"}
    of_regression = {"variance_reduction"}
    of_own_posteriors = {"loss_prediction", "ta_vaal", "waal"}
    assert missed == of_other_labels | of_regression | of_own_posteriors | {"top_k", "sum_of"} | {
        "mocu",  # is eer, the same object
        "embedded",  # reads a file
        "deepfool",  # moves inputs, and the images of digits are integers
    }


def test_names_are_safe_files_of_their_own_and_shards_are_a_partition():
    every = arms()
    files = {file_of(arm) for arm in every}
    assert len(files) == len(every) == len(set(every))
    assert all(path.name.replace("_", "").replace(".", "").isalnum() for path in files)
    parts = [share(every, f"{i}/3") for i in range(3)]
    assert sorted(arm for part in parts for arm in part) == sorted(every)
    assert share(every, "0/1") == every
    for wrong in ("3/3", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match=r"shard=.*expected i/n"):
            share(every, wrong)
    with pytest.raises(ValueError, match=r"only='dogs/\*' matches no arm"):
        arms(["dogs/*"])


def test_the_budget_is_in_labels_a_class():
    settings = experiment_of(Arm("digits", "middle", "mc_dropout", "bald"), Setting(1e-3, 0.1), 20).settings
    assert (settings.initial_labels, settings.batch_size, settings.max_labels, settings.seeds) == (20, 10, 220, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three arms, run as two shards."""
    results = tmp_path_factory.mktemp("atlas")
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        for shard in ("0/2", "1/2"):
            atlas(patch, *THREE, "--seeds", str(SEEDS), "--results-dir", str(results), "--shard", shard)
    return results


def test_shards_run_what_is_missing_and_nothing_twice(folder, monkeypatch):
    chosen = arms(THREE[1:])
    assert [len(kept(arm, folder)) for arm in chosen] == [SEEDS * 3] * 3
    assert missing(chosen, SEEDS, folder) == []
    assert missing(chosen, SEEDS + 1, folder) == chosen, "more seeds are asked for"
    monkeypatch.setattr(of_run, "curves", lambda *_: pytest.fail("an arm that is there was run again"))
    atlas(monkeypatch, *THREE, "--seeds", str(SEEDS), "--results-dir", str(folder))


def test_curves_of_another_recipe_are_not_its_own(folder, monkeypatch):
    chosen = arms(THREE[1:])
    assert missing(chosen, SEEDS, folder) == []
    monkeypatch.setattr("experiments.atlas.arms.STEPS", 99)
    assert missing(chosen, SEEDS, folder) == chosen
    monkeypatch.undo()
    small(monkeypatch)
    monkeypatch.setattr(tuning, "chosen", lambda _: Setting(1e-3, 0.9))
    assert missing(chosen, SEEDS, folder) == chosen, "another dropout rate"
    assert "## digits" not in page(folder)


def test_numbers_are_chosen_by_labels_of_random_rows_alone(folder, monkeypatch):
    table = pd.read_csv(tuning.file_of("digits", "mc_dropout", folder))
    assert tuning.chosen(table) == Setting(3e-3, 0.25), "twenty times 3e-3 are enough, and 1e-3 are not"
    digits = vocabulary.dataset("digits")
    half = tuning.split(digits, 0, 100)
    assert len(half.labels) == len(half.test_labels) == 100
    rows = {row.tobytes() for row in digits.inputs}
    assert all(row.tobytes() in rows for row in (*half.inputs, *half.test_inputs)), "no test row has a part in it"
    assert not {row.tobytes() for row in half.inputs} & {row.tobytes() for row in half.test_inputs}
    other = tuning.split(digits, 1, 100)
    assert not np.array_equal(half.labels, other.labels)
    monkeypatch.setattr(tuning, "tried", lambda *_: pytest.fail("what is kept was tried again"))
    tuning.setting_of("digits", "mc_dropout", folder)


def test_a_run_stops_between_arms_when_its_hours_are_over(folder, monkeypatch, capsys):
    monkeypatch.setattr(of_run, "curves", lambda *_: pytest.fail("an arm was begun"))
    only = ["--only", "digits/low/mc_dropout/entropy", "--seeds", str(SEEDS), "--results-dir", str(folder)]
    atlas(monkeypatch, *only, "--budget-hours", "0")
    assert "0.0 hours are over" in capsys.readouterr().out
    atlas(monkeypatch, *only, "--dry-run")
    assert "1 of 1 arms are missing" in capsys.readouterr().out


def test_an_arm_that_cannot_work_is_told_at_the_end_and_the_others_run(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("experiments.atlas.arms.ACQUISITIONS", ("deepfool", "random"))
    only = ["--only", "digits/low/mc_dropout/*", "--seeds", str(SEEDS), "--results-dir", str(tmp_path)]
    with pytest.raises(ValueError, match=r"1 of 2 arms cannot run\. digits/low/mc_dropout/deepfool: deepfool moves"):
        atlas(monkeypatch, *only)
    pd.testing.assert_frame_equal(
        kept(Arm("digits", "low", "mc_dropout", "random"), tmp_path).drop(columns="seconds"),
        kept(Arm("digits", "low", "mc_dropout", "random"), folder).drop(columns="seconds"),
    )


def test_kept_curves_come_out_again_bit_for_bit_and_a_changed_one_is_found(folder, monkeypatch, capsys):
    only = ["--only", "digits/low/mc_dropout/badge", "--seeds", "1", "--results-dir", str(folder)]
    atlas(monkeypatch, *only, "--verify")
    assert "digits/low/mc_dropout/badge: the same" in capsys.readouterr().out
    arm = Arm("digits", "low", "mc_dropout", "badge")
    now = kept(arm, folder)
    changed = now.assign(accuracy=np.where(now.index == 1, 0.5, now.accuracy))
    told = differences(arm, SEEDS, folder, lambda *_: changed)
    assert told == f"accuracy of seed 0, round 1 is 0.5, was {now.accuracy[1]}"
    with pytest.raises(ValueError, match="has no kept curves"):
        differences(arm._replace(acquisition="bald"), 1, folder)


def test_the_page_has_what_there_is(folder):
    text = page(folder)
    random, margin = (kept(Arm("digits", "low", "mc_dropout", a), folder) for a in (BASELINE, "margin"))
    means = [
        table.groupby("seed").accuracy.apply(lambda a: (a.iloc[0] / 2 + a.iloc[1] + a.iloc[2] / 2) / 2)
        for table in (margin, random)
    ]
    gain = 100 * (means[0] - means[1]).mean()
    line = next(line for line in of_set(folder, "digits", "low", "mc_dropout").splitlines() if "`margin`" in line)
    assert float(line.split("|")[6].split("[")[0]) == pytest.approx(gain, abs=0.06)
    for part in ("### low budget, mc_dropout", "4 seeds of 1 data set: digits.", "## digits, low budget, mc_dropout"):
        assert part in text
    assert "### large budget" not in text, "nothing of it was run"


def test_the_page_has_its_pictures(folder, tmp_path, monkeypatch):
    atlas(monkeypatch, "--page", str(tmp_path / "atlas.md"), "--results-dir", str(folder))
    text = (tmp_path / "atlas.md").read_text()
    assert text == page(folder)
    shown = set(re.findall(r"\]\((atlas/\w+\.png)\)", text))
    assert shown == {f"atlas/{path.name}" for path in (tmp_path / "atlas").iterdir()}
    assert len(shown) == 2


def test_the_committed_page_is_of_the_committed_curves(monkeypatch):
    monkeypatch.undo()  # the low budget as it is
    committed = (RESULTS.parent.parent.parent / "docs" / "atlas.md").read_text()
    assert page(RESULTS) == committed, "run python -m experiments.atlas --page docs/atlas.md"


def test_curves_of_the_committed_atlas_are_whole(monkeypatch):
    monkeypatch.undo()
    paths = sorted(RESULTS.glob("*/*/*/*.csv"))
    assert paths
    for path in paths:
        table, (data, regime) = pd.read_csv(path), path.parts[-4:-2]
        assert table.groupby("seed").num_labelled.apply(list).map(tuple).nunique() == 1, path
        assert table.seed.nunique() == 20, path
        classes = SOURCES[data].classes
        assert table.num_labelled.min() == REGIMES[regime].initial * classes
        assert table.num_labelled.max() == REGIMES[regime].labels * classes
