"""Campaigns: paired seeds, one compilation, tables, an oracle that skips, a seed that diverges, resume."""

import dataclasses
import logging
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from conftest import TRAINING, tiny

from al_jax import acquisitions as aq
from al_jax import campaign, results
from al_jax.campaign import Settings, run
from al_jax.campaign.store import open_store
from al_jax.data import initial_rows, subset, with_validation
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import ensemble, point
from al_jax.training import Training

SETTINGS = Settings(seeds=3, initial_labels=6, batch_size=4, max_labels=16, num_samples=4, seed_block=2)


@pytest.fixture(scope="module")
def bald(dataset):
    return run(tiny("mc_dropout"), aq.top_k(aq.bald), dataset, SETTINGS, method="bald")


def test_rounds_go_from_the_initial_labels_to_the_budget(bald):
    for _, rounds in bald.rounds.groupby("seed"):
        assert rounds.num_labelled.tolist() == [6, 10, 14, 16], "the last batch is taken in part"
        assert rounds["round"].tolist() == [0, 1, 2, 3]
    assert set(bald.rounds.seed) == {0, 1, 2}
    assert bald.rounds[["accuracy", "nll", "brier", "ece"]].notna().all(axis=None)


def test_every_acquired_row_is_in_the_table_once_with_the_oracle_s_label(bald, dataset):
    for seed, acquired in bald.acquired.groupby("seed"):
        assert len(acquired) == acquired.row.nunique() == 16
        np.testing.assert_array_equal(acquired.label, dataset.labels[acquired.row])
        np.testing.assert_array_equal(acquired.row, bald.state.labelled.rows[seed][:16])
        assert (acquired["round"] == -1).tolist() == [True] * 6 + [False] * 10, "the initial rows come first"
        assert acquired.score.isna().tolist() == [True] * 6 + [False] * 10
    assert bald.acquired.query("round >= 0")["pick"].max() == 3


def test_rows_are_named_as_in_the_data_set_that_was_loaded(dataset, tmp_path):
    small = subset(dataset, 30, seed=1)
    settings = dataclasses.replace(SETTINGS, seeds=2)
    done = run(tiny("point"), aq.random(), small, settings, results=open_store(tmp_path, {"a": 1}))
    np.testing.assert_array_equal(done.acquired.original_row, small.rows[done.acquired.row])
    np.testing.assert_array_equal(dataset.labels[done.acquired.original_row], done.acquired.label)
    of_seed = campaign.labelled(tmp_path, seed=1)
    assert of_seed.columns.tolist() == ["seed", "round", "row", "original_row", "label"]
    pd.testing.assert_frame_equal(of_seed, campaign.labelled(done, seed=1))
    np.testing.assert_array_equal(of_seed.row, done.state.labelled.rows[1][:16])
    with pytest.raises(ValueError, match="seed=None: expected one of 0, 1"):
        campaign.labelled(tmp_path)
    with pytest.raises(ValueError, match="seed=2: expected one of 0, 1"):
        campaign.labelled(done, seed=2)


def test_seeds_are_paired_between_acquisitions(bald, dataset):
    random = run(tiny("mc_dropout"), aq.random(), dataset, SETTINGS)
    first = (bald.rounds[bald.rounds["round"] == 0], random.rounds[random.rounds["round"] == 0])
    np.testing.assert_array_equal(first[0].nll, first[1].nll)
    np.testing.assert_array_equal(bald.state.labelled.rows[:, :6], random.state.labelled.rows[:, :6])


def test_a_seed_s_campaign_does_not_depend_on_the_other_seeds_of_its_block(bald, dataset):
    alone = run(tiny("mc_dropout"), aq.top_k(aq.bald), dataset, dataclasses.replace(SETTINGS, seeds=2, first_seed=1))
    columns = ["seed", "round", "row"]
    of_seed = [c.acquired[c.acquired.seed == 1][columns].reset_index(drop=True) for c in (alone, bald)]
    pd.testing.assert_frame_equal(*of_seed)


def test_learning_is_compiled_once_for_all_acquisitions_and_every_program_once(dataset, caplog):
    """Two blocks of seeds, four rounds. An executable cannot compile again: what is lowered is all that is compiled."""
    posterior, programs = tiny("point", dataclasses.replace(TRAINING, steps=7)), []
    settings = dataclasses.replace(SETTINGS, max_labels=15)  # which no other test has compiled
    jax.clear_caches()
    for score in (aq.entropy, aq.margin, aq.margin):
        with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax._src.dispatch"):
            done = run(posterior, aq.top_k(score), dataset, settings)
        lowered = [r for r in caplog.records if "module conversion jit(of_group)" in r.getMessage()]
        programs.append(len(lowered))
        caplog.clear()
    assert programs == [5, 2, 0], "start, remember, learn, choose, absorb; remember and choose of another; none"
    assert done.compile_seconds > 0


def test_rows_the_oracle_skips_stay_in_the_pool_and_the_budget_is_still_reached(dataset):
    skipped = {}

    def oracle(rows):
        answered = np.array(
            [
                [skipped.setdefault((seed, int(row)), len(skipped) % 3 > 0) for row in picks]
                for seed, picks in enumerate(rows)
            ]
        )
        for seed, picks in enumerate(rows):
            for row in picks:
                skipped[seed, int(row)] = True  # answered when asked again
        return dataset.labels[rows], answered

    done = run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=oracle)
    assert (done.rounds.groupby("seed").num_labelled.max() == 16).all()
    assert (done.acquired.groupby("seed").row.nunique() == 16).all()
    assert done.rounds["round"].max() > 3
    for _, rounds in done.rounds.groupby("seed"):
        assert (rounds.num_labelled < 16).sum() == len(rounds) - 1, "a seed ends with its first round at the budget"


def test_an_oracle_that_answers_nothing_or_nonsense_is_refused(dataset):
    silent = lambda rows: (dataset.labels[rows], np.zeros(rows.shape, bool))  # noqa: E731
    with pytest.raises(RuntimeError, match="answered none"):
        run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=silent)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (3, r"label of row \d+ is 3: expected an integer from 0 to 2, and answered=False for a row"),
        (-1, "is -1: expected an integer"),
        (0.9, "is 0.9: expected an integer"),
        (np.nan, "is nan: expected an integer"),
        ("cat", "labels is <U3: expected numbers of classes"),
        (None, "labels is object: expected numbers of classes"),
    ],
)
def test_an_answer_that_is_no_class_is_refused_and_never_rounded(dataset, answer, error):
    with pytest.raises(ValueError, match=error):
        run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=lambda rows: (np.full(rows.shape, answer), rows >= 0))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda labels, answered: labels, r"the oracle returned ndarray: expected \(labels, answered\)"),
        (lambda labels, answered: (np.eye(3)[labels], answered), r"labels has shape \[3, 4, 3\].*take the argmax"),
        (lambda labels, answered: (labels[0], answered), r"labels has shape \[4\]: expected \[3, 4\]"),
        (lambda labels, answered: (np.ma.masked_array(labels, ~answered), answered), "labels is a masked array"),
        (lambda labels, answered: (labels, None), r"answered has shape \[\]"),
        (lambda labels, answered: (labels, answered * 0.5), "answered is float64: expected bool"),
        (lambda labels, answered: ([[0], [1, 2], []], answered), "labels is no array of one shape"),
    ],
)
def test_answers_of_another_form_are_refused(dataset, change, error):
    with pytest.raises(ValueError, match=error):
        run(
            *(tiny("point"), aq.random(), dataset, SETTINGS),
            oracle=lambda rows: change(dataset.labels[rows], np.ones(rows.shape, bool)),
        )


def test_what_is_not_answered_may_have_any_label(dataset):
    def oracle(rows):
        known = rows % 2 == 0
        return np.where(known, dataset.labels[rows], np.nan), known

    done = run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=oracle)
    assert (done.acquired.query("round >= 0").row % 2 == 0).all()
    assert (done.acquired.label.to_numpy() == dataset.labels[done.acquired.row]).all()


def test_labels_given_from_outside_make_the_same_campaign(bald, dataset):
    loop = campaign.rounds(tiny("mc_dropout"), aq.top_k(aq.bald), dataset, SETTINGS, method="bald")
    proposed, asked = next(loop), 0
    for _ in range(2):
        assert jax.tree.leaves(proposed.state().posterior)[0].shape[0] == 3
        asked += int(proposed.wanted.sum())
        proposed = loop.send((dataset.labels[proposed.info.rows], proposed.wanted))
    with pytest.raises(StopIteration) as end:
        loop.send((dataset.labels[proposed.info.rows], proposed.wanted))
    done = end.value.value
    assert asked + int(proposed.wanted.sum()) == 3 * 12, "all of the last batch is offered"
    pd.testing.assert_frame_equal(done.acquired, bald.acquired)


def test_nobody_is_asked_when_the_budget_is_reached(dataset):
    asked = []

    def oracle(rows):
        asked.append(rows)
        return dataset.labels[rows], np.ones(rows.shape, bool)

    done = run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=oracle)
    assert len(asked) == 3 == done.rounds["round"].max()


def test_out_of_time_it_ends_between_two_rounds_and_can_be_continued(bald, dataset, tmp_path):
    arguments = tiny("mc_dropout"), aq.top_k(aq.bald), dataset, SETTINGS
    part = run(*arguments, method="bald", results=open_store(tmp_path, {"a": 1}), max_hours=1e-9)
    assert not part.finished
    assert part.rounds["round"].max() == 0
    assert not (tmp_path / "summary.json").exists()
    done = run(*arguments, method="bald", results=open_store(tmp_path, {"a": 1}, resume=True))
    assert done.finished
    pd.testing.assert_frame_equal(done.acquired, bald.acquired)


@pytest.mark.parametrize("pool_on", ["device", "host"])
def test_rows_that_nobody_can_label_leave_the_pool_for_good(dataset, pool_on):
    """Odd rows cannot be labelled: rounds without any label draw others, and the campaign ends when none is left."""
    asked = []

    def oracle(rows):
        asked.extend((seed, row) for seed, picks in enumerate(rows.tolist()) for row in picks)
        odd = rows % 2 == 1
        return np.where(odd, -7, dataset.labels[rows]), ~odd, odd

    start = np.tile(np.arange(0, 12, 2), (3, 1))
    settings = dataclasses.replace(SETTINGS, max_labels=40, pool_on=pool_on)
    acquisition = aq.top_k(aq.bald)._replace(summarise=lambda round, x, rows: rows % 2 + 0.001 * rows)
    done = run(tiny("point"), acquisition, dataset, settings, initial=start, oracle=oracle)
    assert len(set(asked)) == 3 * 42, "the whole pool is asked for"
    assert len(asked) == 3 * 44, "and no row again, but for two that fill the last batch"
    assert (done.rounds.groupby("seed").num_labelled.max() == 24).all(), "all even rows, and no others"
    assert done.rounds.groupby("seed").num_labelled.apply(lambda n: (n == 6).sum()).tolist() == [7, 7, 7]
    labelled, available = done.state.labelled, np.asarray(done.state.available)
    assert not available.any()
    assert (np.asarray(labelled.count) == 24).all()


def test_an_answered_row_is_not_excluded(dataset):
    def both(rows):
        return dataset.labels[rows], np.ones(rows.shape, bool), np.ones(rows.shape, bool)

    with pytest.raises(ValueError, match=r"row \d+ is answered and excluded: expected one of the two"):
        run(tiny("point"), aq.random(), dataset, SETTINGS, oracle=both)


@pytest.mark.parametrize("batch_size", [1, 10, 48])
def test_everything_labelled_gives_the_metrics_of_the_whole_pool(dataset, batch_size):
    whole = dataclasses.replace(SETTINGS, seeds=1, initial_labels=48, max_labels=48, batch_size=batch_size)
    done = run(tiny("point"), aq.random(), dataset, whole)
    assert done.rounds.num_labelled.tolist() == [48]
    assert done.rounds.accuracy.item() > 0.8


def test_a_batch_larger_than_what_is_left_is_short(dataset):
    settings = dataclasses.replace(SETTINGS, initial_labels=45, max_labels=48, batch_size=10, balanced=False)
    done = run(tiny("point"), aq.random(), dataset, settings)
    assert done.rounds.groupby("seed").num_labelled.apply(list).tolist() == [[45, 48]] * 3


@pytest.mark.parametrize(
    "acquisition",
    [aq.top_k(aq.bald), aq.top_k(aq.mean_std), aq.stochastic_top_k(aq.bald), aq.batchbald(100), aq.epig(8)],
    ids=["bald", "mean_std", "stochastic", "batchbald", "epig"],
)
def test_a_score_that_is_constant_over_the_pool_is_said_once(dataset, acquisition):
    collapsed = ensemble(point(MLP(3, (8,), 0.0), categorical(), Training(optax.sgd(1e-12), steps=1)), 3)

    def init(key, x):
        return jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), collapsed.init(key, x))

    with pytest.warns(RuntimeWarning, match="all rows have one score, so that this method chooses at random") as said:
        done = run(collapsed._replace(init=init), acquisition, dataset, SETTINGS)
    assert len([w for w in said if "one score" in str(w.message)]) == 1
    assert done.rounds.info_constant.all()
    picks = done.acquired.query("round == 0").groupby("seed").row.apply(set)
    assert picks[0] != picks[1], "the key decides"


def test_random_acquisition_has_one_score_by_intention(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = run(tiny("point"), aq.random(), dataset, SETTINGS)
    assert "info_constant" not in done.rounds


def test_initial_rows_can_be_given(dataset):
    initial = np.arange(18).reshape(3, 6)
    done = run(tiny("point"), aq.random(), dataset, SETTINGS, initial=initial)
    assert np.array_equal(np.asarray(done.state.labelled.rows)[:, :6], initial)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (np.zeros((3, 5), int), r"initial=int64\[3, 5\]: expected integers \[3, 6\]"),
        (np.zeros((3, 6)), r"initial=float64\[3, 6\]: expected integers"),
        (np.zeros((3, 6), int), "initial has the row 0: expected distinct rows"),
        (np.arange(18).reshape(3, 6) - 1, "initial has the row -1"),
    ],
)
def test_initial_rows_that_are_none_are_refused(dataset, initial, message):
    with pytest.raises(ValueError, match=message):
        run(tiny("point"), aq.random(), dataset, SETTINGS, initial=initial)


def test_a_time_that_is_none_is_refused(dataset):
    with pytest.raises(ValueError, match="max_hours=0: expected a positive"):
        run(tiny("point"), aq.random(), dataset, SETTINGS, max_hours=0)


def test_a_seed_that_diverges_is_stopped_and_the_others_finish(dataset):
    """One pool row is so large that training on it overflows; only the seeds that label it diverge."""
    inputs = dataset.inputs.copy()
    inputs[40] = 3e38
    broken = dataset._replace(inputs=inputs)
    posterior = point(MLP(3, (8,), 0.0), categorical(), Training(optax.sgd(1.0), minibatch_size=8, steps=20))
    of_seed_1 = initial_rows(1, dataset.labels, 6, 3)[0]

    def large_for_seed_1(round, x, rows):
        mine = round.data.labelled.rows[0] == of_seed_1
        return jnp.where(rows == 40, jnp.where(mine, 1.0, -1.0), 0.0)

    with pytest.warns(RuntimeWarning, match=r"1 of 3 seeds were stopped\. Seed 1: training diverged in round 1"):
        done = run(posterior, aq.top_k(aq.bald)._replace(summarise=large_for_seed_1), broken, SETTINGS)
    assert set(done.stopped) == {1}
    assert "diverged in round 1, at 10 labels" in done.stopped[1]
    for seed, rounds in done.rounds.groupby("seed"):
        assert rounds.num_labelled.tolist() == ([6] if seed == 1 else [6, 10, 14, 16])
        assert np.isfinite(rounds.fit_loss).all()


@pytest.mark.parametrize("diverging", [(0, 1, 2), (1,)])
def test_seeds_that_diverge_at_once_are_counted_as_never_arriving(dataset, tmp_path, diverging):
    inputs, rows = dataset.inputs.copy(), np.tile(np.arange(6), (3, 1))
    for seed in diverging:
        inputs[30 + seed] = 3e38
        rows[seed, 0] = 30 + seed
    posterior = point(MLP(3, (8,), 0.0), categorical(), Training(optax.sgd(1.0), minibatch_size=8, steps=20))
    never = aq.top_k(aq.bald)._replace(summarise=lambda round, x, rows: jnp.where(rows >= 30, -1.0, 0.0))
    arguments = posterior, never, dataset._replace(inputs=inputs), SETTINGS
    store = open_store(tmp_path, {"a": 1})
    if len(diverging) == 3:
        with pytest.raises(campaign.Diverged, match=r"every seed was stopped\. training diverged in round 0") as error:
            run(*arguments, initial=rows, results=store)
        done = error.value.campaign
    else:
        with pytest.warns(RuntimeWarning, match="Seed 1: training diverged in round 0, at 6 labels"):
            done = run(*arguments, initial=rows, results=store)
    pd.testing.assert_frame_equal(campaign.load(tmp_path).rounds, done.rounds, check_dtype=False)
    assert set(done.stopped) == set(diverging)
    assert set(done.rounds.seed) == {0, 1, 2}
    labels = results.labels_to_accuracy(done.rounds, 0.0).set_index("seed").labels
    assert (labels == np.inf).tolist() == [seed in diverging for seed in range(3)]
    table = results.summary(done.rounds)
    assert table.seeds.item() == 3
    assert table.complete.item() == 3 - len(diverging)
    results.render(table)


@pytest.mark.parametrize("method", ["nan", "None", "NA", "007", "1e3", 'a "b", c'])
def test_a_method_keeps_its_name_on_disk(dataset, tmp_path, method):
    only_first = dataclasses.replace(SETTINGS, max_labels=6)
    done = run(tiny("point"), aq.random(), dataset, only_first, method=method, results=open_store(tmp_path, {"a": 1}))
    assert set(campaign.load(tmp_path).rounds.method) == {method} == set(done.rounds.method)


def test_an_empty_name_is_refused(dataset):
    with pytest.raises(ValueError, match="method='': expected a name"):
        run(tiny("point"), aq.random(), dataset, SETTINGS, method="")


def test_early_stopping_reads_the_validation_set(dataset):
    training = Training(optax.adam(0.05), minibatch_size=8, epochs=30, patience=1)
    done = run(tiny("mc_dropout", training), aq.top_k(aq.bald), with_validation(dataset, 12), SETTINGS)
    assert done.rounds.fit_steps.nunique() > 2
    assert (done.rounds.fit_steps < 30 * 2).any()


class Killed(Exception):
    pass


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_killed_campaign_continues_bit_for_bit(dataset, tmp_path, warm_start):
    settings = dataclasses.replace(SETTINGS, warm_start=warm_start)
    posterior, acquisition = tiny("mc_dropout"), aq.top_k(aq.bald)
    whole = run(posterior, acquisition, dataset, settings, method="m")
    asked = []

    def dies(rows):
        asked.append(rows)
        if len(asked) == 3:
            raise Killed
        return dataset.labels[rows], np.ones(rows.shape, bool)

    with pytest.raises(Killed):
        run(posterior, acquisition, dataset, settings, method="m", oracle=dies, results=open_store(tmp_path, {"a": 1}))
    resumed_store = open_store(tmp_path, {"a": 1}, resume=True)
    resumed = run(posterior, acquisition, dataset, settings, method="m", results=resumed_store)
    pd.testing.assert_frame_equal(resumed.acquired, whole.acquired)
    pd.testing.assert_frame_equal(resumed.rounds.drop(columns="seconds"), whole.rounds.drop(columns="seconds"))
    loaded = campaign.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.acquired, whole.acquired, check_exact=False)
    assert loaded.stopped == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds=0: expected at least 1"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"initial_labels": 60}, "initial_labels=60: expected 0 to 48"),
        ({"max_labels": 49}, "max_labels=49: expected 6 .* to 48"),
        ({"max_labels": 5}, "max_labels=5: expected 6"),
        ({"batch_size": 49}, "batch_size=49: expected 1 to 48, the rows of the pool"),
        ({"initial_labels": 2}, "initial_labels=2: an initial set without every class"),
        ({"pool_subset": 3}, "pool_subset=3: expected 4"),
        ({"evaluate": "mean"}, "evaluate='mean'"),
    ],
)
def test_impossible_settings_are_refused_before_any_work(dataset, change, message):
    with pytest.raises(ValueError, match=message):
        run(tiny("point"), aq.random(), dataset, dataclasses.replace(SETTINGS, **change))


def test_bad_data_and_networks_are_refused_before_any_work(dataset):
    inputs = dataset.inputs.copy()
    inputs[[5, 9]] = np.nan
    with pytest.raises(ValueError, match=r"inputs has NaN or infinite values in 2 rows \(5, 9\)"):
        run(tiny("point"), aq.random(), dataset._replace(inputs=inputs), SETTINGS)
    labels = dataset.labels.copy()
    labels[4] = 7
    with pytest.raises(ValueError, match="labels has 7 in 1 rows"):
        run(tiny("point"), aq.random(), dataset._replace(labels=labels), SETTINGS)


def test_a_saturated_batch_warns_once_in_plain_words(dataset):
    settings = Settings(seeds=2, initial_labels=3, batch_size=6, max_labels=21, num_samples=2, chunk_size=20)
    with pytest.warns(RuntimeWarning, match=r"% of log K, all that K = 2 .* nearly arbitrary\. Take more") as caught:
        done = run(tiny("mc_dropout"), aq.batchbald(64), dataset, settings)
    assert len([w for w in caught if "log K" in str(w.message)]) == 1
    saturation = done.acquired.groupby(["seed", "round"]).info_saturation.max()
    assert (saturation > 0.95).sum() > 1, "more than one batch was"
    assert {"info_standard_error", "info_evaluated", "info_duplicate"} <= set(done.acquired.columns)
