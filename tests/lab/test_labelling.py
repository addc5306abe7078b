"""A person labels: the same campaign as with stored labels, every answer on the disk, wrong ones refused by name."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optax
import pandas as pd
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign
from al_jax.campaign import Settings
from al_jax.campaign.store import StoreError
from al_jax.data import load
from al_jax.lab.answers import read
from al_jax.lab.label import label
from al_jax.lab.labelling import Labelling, labelling
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import point
from al_jax.training import Training

pytestmark = pytest.mark.usefixtures("compiled_once")

SETTINGS = Settings(seeds=1, initial_labels=6, batch_size=4, max_labels=12, num_samples=4)
ENTROPY = aq.top_k(aq.entropy)
CLASSES = ["cat", "dog", "eel"]


@pytest.fixture(scope="module")
def stored(dataset):
    """The campaign whose labels are all stored."""
    return campaign.run(tiny("point"), ENTROPY, dataset, SETTINGS)


def opened(dataset, directory, **options) -> Labelling:
    return labelling(tiny("point"), ENTROPY, dataset, SETTINGS, directory, **{"classes": CLASSES} | options)


def answer_all(person: Labelling, dataset) -> None:
    """Answer whatever is asked, correctly."""
    while asked := person.ask():
        person.tell(asked.rows, dataset.labels[asked.rows])


def hidden(dataset, known):
    """Nobody has labelled the other rows yet."""
    labels = np.full(len(dataset.labels), -1)
    labels[known] = dataset.labels[known]
    return dataset._replace(labels=labels)


def test_a_person_who_knows_the_labels_makes_the_campaign_of_the_stored_labels(stored, dataset, tmp_path):
    person = opened(dataset, tmp_path)
    asked = person.ask()
    assert (asked.round, asked.size, asked.num_labelled) == (0, 4, 6)
    assert set(asked.metrics) == {"accuracy", "nll", "brier", "ece"}
    np.testing.assert_array_equal(asked.inputs, dataset.inputs[asked.rows])
    assert sorted(asked.scores, reverse=True) == asked.scores.tolist()

    first, *others = asked.rows.tolist()
    person.tell({first: CLASSES[dataset.labels[first]]})  # a class by its name
    assert person.ask().rows.tolist() == others, "what is left of the round, which is not trained again"
    person.tell(others, dataset.labels[others])  # or by its number
    asked = person.ask()
    assert (asked.round, asked.size) == (1, 2), "no more than the budget has room for"
    assert person.rounds.num_labelled.tolist() == [6, 10]
    person.tell(asked.rows, dataset.labels[asked.rows])
    assert person.ask() is None

    pd.testing.assert_frame_equal(person.campaign.acquired, stored.acquired)
    assert person.rounds.num_labelled.tolist() == [6, 10, 12]
    again = opened(dataset, tmp_path)
    assert again.ask() is None, "a finished campaign is read from its folder"
    pd.testing.assert_frame_equal(again.campaign.acquired, stored.acquired, check_exact=False)


def test_a_thousand_images_without_and_twenty_with_a_label(tmp_path):
    """Those with a label, wherever they are in the pool, are the initial rows; -1 is unknown."""
    digits = load("digits")
    digits = digits._replace(inputs=digits.inputs[:1020], labels=digits.labels[:1020])
    posterior = point(MLP(10, (8,), 0.0), categorical(), Training(optax.adam(1e-2), steps=20))
    known = np.random.default_rng(0).choice(1020, 20, replace=False)
    settings = Settings(seeds=1, initial_labels=8, batch_size=4, max_labels=28, num_samples=1)
    person = labelling(posterior, ENTROPY, hidden(digits, known), settings, tmp_path)
    answer_all(person, digits)
    assert person.rounds.num_labelled.tolist() == [20, 24, 28], "initial_labels is what there is"
    settings = dataclasses.replace(settings, initial_labels=20)
    stored = campaign.run(posterior, ENTROPY, digits, settings, initial=np.sort(known)[None])
    pd.testing.assert_frame_equal(person.campaign.acquired, stored.acquired)


def test_it_can_begin_without_any_label(dataset, tmp_path):
    person = opened(hidden(dataset, []), tmp_path)
    answer_all(person, dataset)
    assert person.rounds.num_labelled.tolist() == [0, 4, 8, 12]


def test_skipped_rows_stay_in_the_pool_and_a_round_has_at_least_one_label(dataset, tmp_path):
    person = opened(dataset, tmp_path)
    with pytest.raises(
        ValueError, match=r"every row of round 0 would be skipped.*at least 1 label a round; exclude\(\)"
    ):
        person.skip()
    rows = person.ask().rows
    person.skip(rows[:3])
    with pytest.raises(ValueError, match="would be skipped"):
        person.skip(rows[3])
    person.undo()
    person.tell(rows[2], 0)
    person.skip()  # the rest of the round
    assert person.num_waiting == 0
    asked = person.ask()
    assert (asked.round, asked.num_labelled) == (1, 7)
    answer_all(person, dataset)
    assert person.rounds.num_labelled.tolist() == [6, 7, 11, 12]
    assert person.campaign.acquired.row.is_unique


def test_undo_takes_back_the_last_answer_of_the_open_round(dataset, tmp_path):
    person = opened(dataset, tmp_path)
    with pytest.raises(ValueError, match="round 0 has no answer yet"):
        person.undo()
    rows = person.ask().rows.tolist()
    person.tell(rows[:2], [0, 1])
    person.skip(rows[2])
    assert [person.undo(), person.undo()] == [rows[2], rows[1]]
    assert person.ask().rows.tolist() == rows[1:]
    person.tell(rows[1:], [2, 2, 2])
    assert person.undo() == rows[3], "until the round is closed"
    person.tell(rows[3], "dog")
    person.ask()
    with pytest.raises(ValueError, match="round 1 has no answer yet"):
        person.undo()
    acquired = pd.read_csv(tmp_path / "acquired.csv")
    acquired = acquired[acquired["round"] >= 0]
    assert dict(zip(acquired.row, acquired.label, strict=True)) == dict(zip(rows, [0, 2, 2, 1], strict=True))


def test_excluded_rows_never_come_back_and_a_round_without_labels_draws_others(dataset, tmp_path):
    person = opened(dataset, tmp_path)
    gone = person.ask().rows.tolist()
    person.exclude()
    assert person.undo() == gone[3], "until the round is closed"
    person.exclude(gone[3])
    with pytest.raises(ValueError, match=rf"row {gone[0]} was excluded in this round already"):
        person.tell(gone[0], 0)
    asked = person.ask()
    assert (asked.round, asked.num_labelled) == (1, 6)
    assert not set(asked.rows.tolist()) & set(gone)
    with pytest.raises(ValueError, match=rf"row {gone[0]} is not asked for in round 1, it was excluded in round 0"):
        person.tell(gone[0], 0)
    person = opened(dataset, tmp_path)
    answer_all(person, dataset)
    told = person.labelled()
    assert not set(told.row) & set(gone)
    assert told["round"].tolist() == [-1] * 6 + [1] * 4 + [2] * 2
    assert told["class"].tolist() == [CLASSES[c] for c in dataset.labels[told.row]]
    pd.testing.assert_frame_equal(
        told[["round", "row", "original_row", "label"]],
        campaign.labelled(tmp_path)[["round", "row", "original_row", "label"]],
    )


def test_another_process_cannot_label_in_the_same_folder(dataset, tmp_path):
    person = opened(dataset, tmp_path)
    person.ask()
    program = "import sys; from al_jax.campaign.store import locked, open_store; import json\n"
    program += "config = json.load(open(sys.argv[1] + '/config.json'))\n"
    program += "with locked(open_store(sys.argv[1], config, resume=True)): print('in')"
    other = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert "is in use by another process: expected one at a time" in other.stderr
    assert "in\n" not in other.stdout


@pytest.mark.parametrize("missing", [None, np.nan])
def test_labels_may_be_names_and_unknown_ones_none(stored, dataset, tmp_path, missing):
    known = stored.acquired.query("round == -1").row.to_numpy()
    labels = np.full(len(dataset.labels), missing, object)
    labels[known] = [CLASSES[c] for c in dataset.labels[known]]
    person = opened(dataset._replace(labels=labels, test_labels=[CLASSES[c] for c in dataset.test_labels]), tmp_path)
    assert person.ask().num_labelled == 6
    assert person.labelled()["class"].tolist() == [CLASSES[c] for c in dataset.labels[np.sort(known)]]
    labels[3] = "cow"
    with pytest.raises(ValueError, match=r"labels has 'cow' in row 3: expected one of cat, dog, eel, or None"):
        opened(dataset._replace(labels=labels), tmp_path / "other")


@pytest.fixture(scope="module")
def in_round_1(dataset, tmp_path_factory):
    """In round 1, where one row is labelled and one is left."""
    person = opened(dataset, tmp_path_factory.mktemp("labelling"))
    person.tell(person.ask().rows, [0, 1, 2, 0])
    person.tell(person.ask().rows[:1], ["eel"])
    return person


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([-5], [0], r"row -5 is not asked for in round 1: expected some of \d+$"),
        (["b"], [0], "row 'b': expected an integer"),
        (["a", "a"], [0, 0], r"row \d+ is given twice"),
        (["done"], [0], r"row \d+ was labelled 2 in this round already: undo\(\) takes back"),
        (["old"], [0], r"row \d+ is not asked for in round 1, it was labelled in round 0: expected some of \d+$"),
        (["a"], [3], r"label 3 of row \d+: expected 0 to 2, or the name of a class"),
        (["a"], [-1], "label -1 of row"),
        (["a"], [1.0], "label 1.0 of row"),
        (["a"], [None], "label None of row"),
        (["a"], ["cow"], r"label 'cow' of row \d+: expected one of 'cat', 'dog', 'eel'"),
        (["a"], [0, 1], "labels has 2 entries: expected 1, one for each of rows"),
        (["a", -5], [0, 0], "row -5 is not asked for"),
    ],
)
def test_wrong_answers_are_refused_by_name_and_nothing_is_written(in_round_1, rows, labels, message):
    person = in_round_1
    file = person.directory / "answers.jsonl"
    of_round, before = read(file), file.read_bytes()
    known = {"old": of_round[0].asked[0], "done": next(iter(of_round[1].given)), "a": person.ask().rows[0]}
    with pytest.raises(ValueError, match=message):
        person.tell([known.get(row, row) for row in rows], labels)
    assert file.read_bytes() == before


def test_nothing_is_asked_for_after_the_end(dataset, tmp_path):
    person = opened(dataset, tmp_path)
    answer_all(person, dataset)
    with pytest.raises(ValueError, match=r"rows=\[3\]: nothing is asked for, the campaign in .* has ended"):
        person.tell([3], [0])


PERSON = """
import os, signal, sys
from conftest import blobs
from test_labelling import opened
from al_jax.data import Dataset

directory, answers = sys.argv[1], int(sys.argv[2])
dataset = Dataset("blobs", *blobs(0, 48), *blobs(1, 30), 3)
person = opened(dataset, directory)
while asked := person.ask():
    for row in asked.rows:
        person.tell(row, dataset.labels[row])
        answers -= 1
        if answers == 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_person_goes_on_with_the_same_rows_and_all_answers(stored, dataset, tmp_path, environment):
    """Killed with the last answer of round 0, which no checkpoint has; then within round 1; then not."""
    script, here = tmp_path / "person.py", Path(__file__).parent
    script.write_text(PERSON)
    paths = environment | {"PYTHONPATH": f"{here}:{here.parent}", "XLA_FLAGS": ""}  # conftest adds those of the suite
    for answers in (4, 1, 0):
        command = [sys.executable, str(script), str(tmp_path / "run"), str(answers)]
        done = subprocess.run(command, env=paths, capture_output=True, text=True)
        assert done.returncode == (-signal.SIGKILL if answers else 0), done.stderr
    person = opened(dataset, tmp_path / "run")
    pd.testing.assert_frame_equal(person.campaign.acquired, stored.acquired, check_exact=False)
    events = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").open()]
    assert [event["row"] for event in events if "row" in event] == stored.acquired.query("round >= 0").row.tolist(), (
        "each answered once"
    )


def test_half_a_line_was_no_answer_and_a_damaged_one_is_named(dataset, tmp_path):
    person, file = opened(dataset, tmp_path), tmp_path / "answers.jsonl"
    rows = person.ask().rows
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"round": 0, "row": 4')
    person.tell(rows[0], 1)
    assert file.read_bytes() == whole + f'{{"round": 0, "row": {rows[0]}, "label": 1}}\n'.encode()
    file.write_bytes(whole + b'{"round": 0, "row": 4\n')
    with pytest.raises(StoreError, match=r"answers.jsonl is damaged in line 2: '.\"round\": 0, \"row\": 4'"):
        person.ask()


def test_two_windows_on_one_folder_see_each_other_s_answers(stored, dataset, tmp_path):
    one, other = opened(dataset, tmp_path), opened(dataset, tmp_path)
    rows = other.ask().rows
    one.tell(rows[:3], dataset.labels[rows[:3]])
    assert other.ask().rows.tolist() == rows[3:].tolist()
    answer_all(one, dataset)
    assert other.ask() is None
    pd.testing.assert_frame_equal(other.campaign.acquired, stored.acquired)


def test_an_error_while_training_loses_nothing(stored, dataset, tmp_path, monkeypatch):
    person = opened(dataset, tmp_path)
    rows = person.ask().rows
    person.tell(rows, dataset.labels[rows])

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(campaign.checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left"):
        person.ask()
    monkeypatch.undo()
    answer_all(person, dataset)
    pd.testing.assert_frame_equal(person.campaign.acquired, stored.acquired)


def test_a_campaign_whose_training_diverges_ends_and_says_so(dataset, tmp_path):
    broken = dataset._replace(inputs=np.float32(1e30) * dataset.inputs)
    posterior = point(MLP(3, (8,), 0.0), categorical(), Training(optax.sgd(1.0), minibatch_size=8, steps=20))
    person = labelling(posterior, ENTROPY, broken, SETTINGS, tmp_path)
    assert person.ask() is None
    assert "diverged in round 0" in person.campaign.stopped[0]


def test_a_folder_belongs_to_its_data_settings_classes_and_posterior(dataset, tmp_path):
    opened(dataset, tmp_path).ask()
    with pytest.raises(StoreError, match="another configuration: it differs in classes"):
        opened(dataset, tmp_path, classes=["dog", "cat", "eel"])
    with pytest.raises(StoreError, match="another configuration: it differs in data"):
        opened(dataset._replace(inputs=dataset.inputs[::-1]), tmp_path)
    other = labelling(tiny("point"), aq.random(), dataset, SETTINGS, tmp_path, classes=CLASSES)
    with pytest.raises(
        StoreError, match=r"round 0 of .* asked for the rows \[.*\], now for \[.*\]: expected the posterior"
    ):
        other.ask()


@pytest.mark.parametrize(
    ("settings", "classes", "message"),
    [
        (Settings(), None, "seeds=8: expected 1, one person"),
        (SETTINGS, ["cat", "dog"], r"classes=\['cat', 'dog'\]: expected 3 distinct names"),
        (SETTINGS, ["cat", "dog", "dog"], "expected 3 distinct names"),
        (SETTINGS, [0, 1, 2], "expected 3 distinct names"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(dataset, tmp_path, settings, classes, message):
    with pytest.raises(ValueError, match=message):
        labelling(tiny("point"), ENTROPY, dataset, settings, tmp_path / "run", classes=classes)
    with pytest.raises(ValueError, match="labels has -2 in 1 rows"):
        opened(dataset._replace(labels=np.array([-2, *dataset.labels[1:]])), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_widget_without_ipywidgets_says_what_to_install(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "al_jax.lab.widget", raising=False)
    with pytest.raises(ImportError, match=r"needs ipywidgets: pip install 'al_jax\[notebook\]'"):
        label(opened(dataset, tmp_path))
