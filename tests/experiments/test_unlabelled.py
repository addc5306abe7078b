"""What unlabelled rows are worth: arms are campaigns, kept ones are not run again, and the page is of the curves."""

import dataclasses

import pandas as pd
import pytest

from experiments.experiment import texts
from experiments.unlabelled import __main__ as script
from experiments.unlabelled.arms import QUESTIONS, RESULTS, SEEDS, arms, experiment_of


@pytest.mark.parametrize("arm", arms(), ids=lambda arm: arm.name)
def test_every_arm_is_a_campaign_and_pairs_with_its_baseline(arm):
    experiment = experiment_of(arm, SEEDS)
    assert texts(experiment)["training"].endswith(f"steps={'200' if 'simclr' in arm.name else '500'}")
    question = next(q for q in QUESTIONS if arm in (q.baseline, *q.arms))
    settings = experiment_of(question.baseline, SEEDS).settings
    started = dataclasses.replace(experiment.settings, warm_start=settings.warm_start)
    assert started == settings, "the same seeds, budget and rows offered"


def test_kept_arms_are_not_run_again_and_unknown_ones_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "curves", lambda *_: pytest.fail("an arm that is kept was run"))
    monkeypatch.setattr("sys.argv", ["unlabelled", "--results-dir", str(RESULTS)])
    script.main()
    monkeypatch.setattr("sys.argv", ["unlabelled", "--only", "fixmach"])
    with pytest.raises(ValueError, match="only='fixmach': expected names of random, fixmatch"):
        script.main()
    ran = []
    monkeypatch.setattr(
        script, "curves", lambda arm, seeds: ran.append(arm.name) or pd.DataFrame({"seed": range(seeds)})
    )
    monkeypatch.setattr("sys.argv", ["unlabelled", "--only", "bald", "--seeds", "2", "--results-dir", str(tmp_path)])
    script.main()
    assert ran == ["bald"]


def test_the_committed_page_is_of_the_committed_curves_which_are_whole():
    committed = (RESULTS.parents[2] / "docs" / "results" / "unlabelled.md").read_text()
    assert script.page(RESULTS) == committed
    for arm in arms():
        table = script.kept(arm, RESULTS)
        assert table is not None, arm.name
        assert table["seed"].nunique() == SEEDS
        assert table["num_labelled"].max() == arm.fields["max_labels"]
