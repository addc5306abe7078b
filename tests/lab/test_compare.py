"""Comparisons on a tiny task: paired seeds, baselines that run once, and everything that is said about them."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign, lab, plots, results
from al_jax.campaign.records import Settings
from al_jax.lab import recorded, stored
from al_jax.lab.compare import check_scores
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import mc_dropout
from al_jax.training import Training, adam

SETTINGS = Settings(initial_labels=6, batch_size=4, max_labels=17, num_samples=4, seed_block=2)
BASELINES = ["random", "entropy", "bald", "batchbald"]

jax.devices()  # JAX begins here, so that the lab leaves this process its one device


def mine(log_probs):
    return 1 - jnp.exp(log_probs).mean(-2).max(-1)


class Killed(BaseException):
    """What a process that is killed does not survive."""


@pytest.fixture(scope="module")
def task(dataset):
    """Three blobs, a network of 8 hidden units, 6 to 17 labels: three batches, the last of 3."""
    return lab.Task("tiny", lambda: dataset, lambda _: tiny("mc_dropout"), SETTINGS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of all workers: the lab lets one run a baseline while the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "lab-cache"
    before = jax.config.jax_compilation_cache_dir
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AL_JAX_CACHE", str(folder))
        patch.setitem(stored.BASELINES, "batchbald", lambda: aq.batchbald(100))  # exact here, and sooner compiled
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        yield folder / "lab"
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def result(cache, task):
    """The first comparison: it stores the baselines."""
    return lab.compare({"mine": mine}, seeds=3, task=task)


@pytest.fixture
def few(monkeypatch):
    """Fewer baselines, for a task of its own."""
    monkeypatch.setattr(stored, "BASELINES", {name: stored.BASELINES[name] for name in ("random", "bald")})


@pytest.fixture
def runs(monkeypatch):
    """The names of the campaigns that are run from now on."""
    names, run = [], campaign.rounds

    def counted(*args, **options):
        names.append(options["method"])
        return run(*args, **options)

    monkeypatch.setattr(campaign, "rounds", counted)
    return names


# what is compared


def test_expressions_and_scores_name_themselves(cache, result, task):
    found = lab.compare(["bald", "prefilter(bald, 20, margin)", mine], seeds=3, task=task)
    assert list(found.rounds["method"].unique()) == [*BASELINES, "prefilter(bald, 20, margin)", "mine"]
    again, first = (r.acquired[r.acquired["method"] == "mine"].reset_index(drop=True) for r in (found, result))
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("bald", "methods is a str: expected a list"),
        ([lambda log_probs: log_probs[..., 0, 0]], "methods has <lambda>, a function: give it a name"),
        ([aq.top_k(aq.bald)], "methods has <lambda>, a Acquisition: give it a name"),
        (["margin", "top_k(margin)"], "methods has margin twice"),
        (["margins"], "acquisition='margins': at column 1 'margins' is unknown: did you mean 'margin'"),
        ({"mine": "margins"}, "'margins' is unknown"),
    ],
)
def test_what_has_no_name_or_cannot_be_read_is_refused_before_any_work(methods, message):
    with pytest.raises(ValueError, match=message):
        lab.compare(methods)


def test_the_baselines_come_along_and_all_start_from_the_same_rows_and_networks(result):
    assert list(result.rounds["method"].unique()) == [*BASELINES, "mine"]
    first = result.rounds[result.rounds["round"] == 0].pivot(index="seed", columns="method", values="nll")
    assert (first.nunique(axis=1) == 1).all()
    assert result.rounds.groupby("method")["num_labelled"].unique().map(list).tolist() == [[6, 10, 14, 17]] * 5


def test_a_campaign_of_the_lab_is_a_campaign(result, task, dataset):
    settings = dataclasses.replace(SETTINGS, seeds=3)
    expected = campaign.run(tiny("mc_dropout"), aq.top_k(mine), dataset, settings, method="mine")
    found = result.acquired[result.acquired["method"] == "mine"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[expected.acquired.columns], expected.acquired)


def test_the_tables_say_what_they_should(result):
    assert result.verdicts[["method", "baseline"]].to_numpy().tolist() == [["mine", "random"], ["mine", "bald"]]
    assert set(result.differences["baseline"]) == {"random", "bald"}
    assert result.penalties.shape == (5, 5)
    pd.testing.assert_frame_equal(result.summary, results.summary(result.rounds))
    assert (result.costs[["seconds", "compile_seconds"]] > 0).all(axis=None)
    assert list(result.costs["method"]) == [*BASELINES, "mine"]
    assert result.stopped == {}


# what is stored


def test_a_second_comparison_runs_only_what_is_new(result, cache, task, runs):
    again = lab.compare({"core": aq.core_set()}, seeds=3, task=task)
    assert runs == ["core"]
    assert list(again.costs["stored"]) == [True] * 4 + [False]
    for table in ("rounds", "acquired"):
        old, new = (getattr(r, table)[getattr(r, table)["method"].isin(BASELINES)] for r in (result, again))
        pd.testing.assert_frame_equal(old, new)


def test_generated_rows_are_refused_where_rounds_are_kept_for_a_replay(cache, task):
    with pytest.raises(ValueError, match="dfal generates rows, which a replay cannot know"):
        lab.compare({"dfal": aq.deepfool(2, augment=True)}, seeds=3, task=task)


def test_a_sweep_has_a_comparison_for_each_setting(cache, dataset):
    def posterior(dataset, learning_rate):
        network = MLP(3, (5,), 0.5)
        return mc_dropout(network, categorical(), Training(adam(learning_rate), minibatch_size=8, steps=20))

    task = lab.Task("swept", lambda: dataset, posterior, SETTINGS)
    found = lab.compare({"mine": mine}, seeds=3, task=task, sweep={"learning_rate": [1e-4, 1e-1]})
    again = lab.compare({"mine": mine}, seeds=3, task=task, sweep={"learning_rate": [1e-4, 1e-1]})
    pd.testing.assert_frame_equal(*(each.rounds.drop(columns="seconds") for each in (found, again)))
    assert all(run.stored for name, run in again.settings[0].runs.items() if name in BASELINES)
    assert set(found.rounds["method"]) == {*BASELINES, "mine"}
    assert found.summary.groupby("learning_rate")["method"].count().tolist() == [5, 5]
    weak, strong = (found.at(learning_rate=rate) for rate in (1e-4, 1e-1))
    assert strong.summary["aubc"].mean() > weak.summary["aubc"].mean() + 0.1
    alone = lab.compare({"mine": mine}, seeds=3, task=task._replace(posterior=lambda d: posterior(d, 1e-1)))
    pd.testing.assert_frame_equal(
        alone.summary[["method", "aubc"]], strong.summary[["method", "aubc"]], atol=1e-2, check_exact=False
    )
    assert "learning_rate=0.1" in strong.title
    assert "learning_rate" in str(found)
    assert "<table" in found._repr_html_()
    with pytest.raises(ValueError, match=r"expected one of learning_rate=0\.0001; learning_rate=0\.1"):
        found.at(learning_rate=1.0)
    other = lab.compare({}, seeds=3, task=task, sweep={"learning_rate": [1e-4, 1e-2]})
    assert not any(run.stored for run in other.settings[0].runs.values()), "other numbers are other campaigns"


def test_baselines_alone_can_be_compared(result, task, runs):
    nothing_new = lab.compare({}, seeds=3, task=task)
    assert runs == []
    assert nothing_new.verdicts.empty
    assert "batchbald" in str(nothing_new)


def test_another_version_runs_the_baselines_again(result, task, monkeypatch):
    ready = recorded.ready(task, 3)
    versions = stored.versions()
    before, again = (stored.folder_of(stored.configuration(ready, "bald", aq.top_k(aq.bald))) for _ in range(2))
    monkeypatch.setattr(stored, "versions", lambda: versions | {"jax": "99"})
    after = stored.folder_of(stored.configuration(ready, "bald", aq.top_k(aq.bald)))
    assert before == again
    assert before.exists()
    assert not after.exists()


def test_another_program_other_data_and_other_settings_have_campaigns_of_their_own(task, dataset):
    def folder(task, seeds=3, score=aq.bald):
        return stored.folder_of(stored.configuration(recorded.ready(task, seeds), "bald", aq.top_k(score)))

    labels = np.roll(dataset.labels, 1)
    folders = [
        folder(task),
        folder(task, seeds=4),
        folder(task, score=aq.mean_std),
        folder(task._replace(posterior=lambda _: tiny("debal"))),
        folder(task._replace(dataset=lambda: dataset._replace(labels=labels))),
        folder(lab.task(task, num_samples=5)),
    ]
    assert len(set(folders)) == 6
    assert folder(task._replace(dataset=lambda: dataset._replace(name="renamed"))) == folders[0]


def test_a_baseline_that_was_killed_is_continued(result, cache, task, few, runs, monkeypatch):
    """Killed in its third round, it runs the others no second time and acquires the same rows."""
    written, own = [], task._replace(name="killed")

    def killed(folder, number, snapshot, write=recorded.write):
        write(folder, number, snapshot)
        written.append(number)
        if written == [0, 1, 2]:
            raise Killed

    monkeypatch.setattr(recorded, "write", killed)
    with pytest.raises(Killed):
        lab.compare({}, seeds=3, task=own)
    again = lab.compare({}, seeds=3, task=own)
    assert runs == ["random", "random", "bald"]
    assert written == [0, 1, 2, 2, 0, 1, 2]
    expected = result.acquired[result.acquired["method"].isin(["random", "bald"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.acquired, expected[again.acquired.columns])
    assert not list((cache / "killed").glob("*/checkpoints")), "what is finished needs none"


def test_a_task_that_keeps_no_states_is_compared_but_not_replayed(cache, task, few):
    small = lab.compare({}, seeds=3, task=task._replace(keep_states=False, name="brief"))
    assert not list((cache / "brief").glob("*/states"))
    with pytest.raises(ValueError, match="keep_states=False"):
        lab.inspect(small, 0)


# how it is shown


def test_it_prints_the_verdict_and_the_table(result):
    text = str(result)
    assert text == repr(result)
    assert result.verdicts["sentence"][0] in text
    for words in ("tiny: 3 seeds, 6 to 17 labels by 4", "to 90 %", "AUBC", "batchbald", "compile", "beats"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_notebook_shows_the_verdict_the_table_and_the_curves(result):
    html = result._repr_html_()
    assert result.verdicts["sentence"][1] in html
    assert "<table" in html
    assert "data:image/png;base64," in html
    hostile = dataclasses.replace(result, verdicts=result.verdicts.assign(sentence="<b>mine</b> wins"))
    assert "&lt;b&gt;mine" in hostile._repr_html_()
    assert "<b>mine" not in hostile._repr_html_()


def test_the_picture_has_the_curves_and_a_panel_for_each_baseline(result):
    figure = result.figure()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [result.title, *(f"accuracy minus that of {b}, % points" for b in ("random", "bald"))]
    bands = [len(axes.collections) for axes in figure.axes]
    assert bands == [5, 1, 1], "of the differences only the new method's"
    everyone = plots.comparison(result.rounds, result.differences)
    assert [len(axes.collections) for axes in everyone.axes] == [5, 4, 4]


def test_the_first_comparison_says_that_it_takes_a_while_and_no_later_one(cache, task, few, capsys):
    for told in (True, False):
        found = lab.compare({}, seeds=3, task=task._replace(name="other"))
        assert list(found.costs["stored"]) == [not told] * 2
        assert ("Running random, bald on 'other' too, which may take a few minutes" in capsys.readouterr().out) == told


# judged again without training


def test_a_replay_picks_exactly_what_the_campaign_picked(result, cache, task):
    def bald_by_another_name(log_probs):
        return aq.bald(log_probs)

    again = lab.replay({"again": bald_by_another_name}, task=task, seeds=3)
    assert again.reproduced == 1
    columns = ["seed", "round", "pick", "row", "label", "score"]
    of_campaign = result.acquired.query("method == 'bald' and round >= 0")
    found = again.acquired[again.acquired["method"] == "again"].merge(of_campaign[columns[:3]])
    order = ["seed", "round", "pick"]
    old, new = (t[columns].sort_values(order).reset_index(drop=True) for t in (of_campaign, found))
    pd.testing.assert_frame_equal(old, new, check_exact=False, rtol=1e-5)
    assert old["row"].tolist() == new["row"].tolist()
    assert (again.rounds.query("method == 'again'")["overlap_bald"] == 1).all()


def test_a_replay_of_another_campaign_reproduces_that_one_also_what_it_drew_at_random(result, task):
    again = lab.replay(mine, task=task, seeds=3, campaign="batchbald")
    assert again.reproduced == 1
    assert (again.rounds.query("method == 'batchbald'")["overlap_batchbald"] == 1).all()


def test_what_the_baselines_pick_in_a_stored_campaign_is_computed_once(result, task, monkeypatch):
    lab.replay(mine, task=task, seeds=3)
    calls = []
    monkeypatch.setattr(np, "savez", lambda *_, **__: calls.append(1))
    told = lab.replay(mine, task=task, seeds=3)
    assert not calls
    assert "mine picks" in str(told)
    assert "data:image/png;base64," in told._repr_html_()


def test_measures_of_a_replayed_batch_are_within_their_bounds(result, task):
    table = lab.replay({"core": aq.core_set()}, task=task, seeds=3).rounds
    assert set(table["method"]) == {"random", "bald", "batchbald", "core"}
    assert len(table) == 4 * 3 * 3
    for share in ("overlap_bald", "overlap_batchbald", "redundancy", "class_balance"):
        assert table[share].between(0, 1).all()
    assert (table["information"] <= np.log(4) + 0.05).all()
    best = table.pivot(index=["seed", "round"], columns="method", values="information")
    assert (best["batchbald"] >= best["random"] - 0.05).all()


def test_an_inspection_looks_at_the_batch_that_was_acquired(result, dataset):
    seen = lab.inspect(result, 1, seed=2, others=["entropy", "bald", "random"])
    acquired = result.acquired.query("method == 'mine' and seed == 2 and round == 1")
    assert seen.picks["row"].tolist() == acquired["row"].tolist()
    assert seen.picks["label"].tolist() == dataset.labels[acquired["row"]].tolist()
    assert seen.picks["mine_rank"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(seen.picks["mine"], acquired["score"], rtol=1e-5)
    assert {"entropy", "bald", "entropy_rank"} <= set(seen.picks)
    assert "random" not in seen.picks, "it has no score for a row"
    np.testing.assert_allclose(seen.predictions.groupby("pick")["mean"].sum(), 1, rtol=1e-5)
    assert np.diag(seen.overlap).tolist() == [4] * 4
    assert seen.classes.sum(axis=1).tolist() == [4] * 4
    assert "what mine picked at 10 labels" in str(seen)
    assert "data:image/png;base64," in seen._repr_html_()


def test_a_stored_method_can_be_inspected_beside_one_other(result):
    seen = lab.inspect(result, 0, "batchbald", others=["bald"])
    assert "batchbald" not in seen.picks, "it has no score for a row"
    expected = result.acquired.query("method == 'batchbald' and seed == 0 and round == 0")["row"]
    assert seen.picks["row"].tolist() == expected.tolist()
    assert list(seen.overlap) == ["batchbald", "bald"]
    assert seen.overlap.loc["bald", "batchbald"] >= 1, "they agree on the first pick"


# what is refused


def test_bad_arguments_are_refused_before_anything_runs(result, task, runs):
    with pytest.raises(ValueError, match="task='digit' is unknown: did you mean 'digits'"):
        lab.compare({}, task="digit")
    with pytest.raises(ValueError, match="seeds=1: expected at least 2"):
        lab.compare({"mine": mine}, seeds=1, task=task)
    with pytest.raises(ValueError, match=r"the name 'bald': expected a text other than .* random, entropy, bald"):
        lab.compare({"bald": mine}, task=task)
    with pytest.raises(ValueError, match="methods is a function: expected a list"):
        lab.compare(mine, task=task)
    with pytest.raises(ValueError, match="campaign='balt' is unknown: did you mean 'bald'"):
        lab.replay(mine, task=task, campaign="balt")
    with pytest.raises(ValueError, match="method='min' is unknown: did you mean 'mine'"):
        lab.inspect(result, 0, "min")
    with pytest.raises(ValueError, match="round=9: mine acquired in the rounds 0 to 2"):
        lab.inspect(result, 9)
    with pytest.raises(ValueError, match="seed=7"):
        lab.inspect(result, 0, seed=7)
    assert runs == []


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (lambda log_probs: log_probs.mean(-1), "wrong shape"),
        (lambda log_probs: aq.bald(log_probs) * jnp.nan, "nan for ordinary predictions"),
        (lambda log_probs: aq.bald(log_probs) - jnp.sort(aq.bald(log_probs).ravel())[0], "which rows come together"),
        (aq.top_k(aq.bald)._replace(select=lambda key, round, summary, available, size: summary.best), "'best'"),
        (aq.top_k(lambda log_probs: log_probs.sum()), "mine raised"),
    ],
)
def test_a_method_that_cannot_work_is_explained_before_anything_runs(task, runs, method, told):
    with pytest.raises(lab.CheckError) as broken:
        lab.compare({"mine": method}, seeds=2, task=task)
    assert told in str(broken.value)
    assert str(broken.value).startswith("mine")
    assert runs == []


def test_a_method_whose_seeds_all_diverge_or_whose_scores_turn_nan_is_named(result):
    def run(rounds, acquired):
        done = campaign.Campaign(rounds, acquired, {0: "training diverged in round 0"}, 1.0)
        return recorded.Recorded(done, None, stored=False)

    with pytest.raises(RuntimeError, match=r"mine: every seed was stopped\. training diverged in round 0"):
        check_scores("mine", run(result.rounds[:0], result.acquired[:0]))
    with pytest.raises(lab.CheckError, match=r"mine is NaN for row \d+ of the pool \(seed 0, round 0\)"):
        check_scores("mine", run(result.rounds, result.acquired.assign(score=np.nan)))
