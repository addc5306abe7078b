"""The labelling widget, clicked without a browser; `test_browser` clicks it in one."""

import re

import jax
import numpy as np
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign, lab
from al_jax.campaign import Settings
from al_jax.lab.pictures import bounds, picture
from al_jax.lab.widget import Labeller

pytestmark = pytest.mark.usefixtures("compiled_once")

SETTINGS = Settings(seeds=1, initial_labels=6, batch_size=3, max_labels=12, num_samples=4)


@pytest.fixture
def labeller(dataset, tmp_path):
    """In round 0, before the first click."""
    person = lab.labelling(
        tiny("point"), aq.random(), dataset, SETTINGS, tmp_path / "run", classes=["cat", "dog", "<eel>"]
    )
    labeller = Labeller(person)
    assert all(button.disabled for button in (*labeller.classes, labeller.skip, labeller.undo))
    labeller.go_on()
    return labeller


def text(widget) -> str:
    return re.sub("<[^>]*>", "", widget.value)


def answers(labeller) -> list[str]:
    return (labeller.labelling.directory / "answers.jsonl").read_text().splitlines()[1:]


def test_every_click_is_on_the_disk_and_the_campaign_goes_on_to_its_budget(labeller):
    rows = labeller.labelling.ask().rows
    assert text(labeller.status).startswith("1 of 3 in round 0; 6 labels, accuracy ")
    assert f"row {rows[0]} of the pool" in text(labeller.row)
    assert "<img" in labeller.curve.value
    assert [button.description for button in labeller.classes] == ["cat", "dog", "<eel>"]
    labeller.classes[2].click()
    assert answers(labeller) == [f'{{"round": 0, "row": {rows[0]}, "label": 2}}']
    assert text(labeller.status).startswith("2 of 3 in round 0; 6 labels")
    assert f"row {rows[1]} of the pool" in text(labeller.row)
    first_curve = labeller.curve.value
    labeller.classes[0].click()
    labeller.classes[0].click()
    assert text(labeller.status).startswith("1 of 3 in round 1; 9 labels")
    assert labeller.curve.value != first_curve
    for _ in range(3):
        labeller.classes[1].click()
    assert re.fullmatch(r"Finished with 12 labels, accuracy [\d.]+ %", text(labeller.status))
    assert labeller.buttons.children == ()
    assert labeller.labelling.campaign.acquired.query("round >= 0").label.tolist() == [2, 0, 0, 1, 1, 1]


def test_exclude(labeller):
    rows = labeller.labelling.ask().rows
    for _ in rows:
        labeller.exclude.click()
    assert text(labeller.status).startswith("1 of 3 in round 1; 6 labels"), "a round without labels draws others"
    assert not set(labeller.labelling.ask().rows.tolist()) & set(rows.tolist())


def test_skip_and_undo(labeller):
    rows = labeller.labelling.ask().rows
    assert labeller.undo.disabled, "nothing to take back"
    labeller.skip.click()
    assert f"row {rows[1]} of" in text(labeller.row)
    labeller.classes[0].click()
    labeller.undo.click()
    assert f"row {rows[1]} of" in text(labeller.row)
    labeller.undo.click()
    assert f"row {rows[0]} of" in text(labeller.row)
    assert text(labeller.status).startswith("1 of 3 in round 0")


def test_what_cannot_be_is_shown_and_the_next_answer_is_taken(labeller):
    for _ in range(3):
        labeller.skip.click()
    assert "every row of round 0 would be skipped, and come back" in text(labeller.message)
    labeller.classes[1].click()
    assert text(labeller.message) == ""
    assert text(labeller.status).startswith("1 of 3 in round 1; 7 labels")


def test_a_click_on_a_button_of_the_round_before_labels_nothing(labeller):
    old = labeller.classes[0]
    for _ in range(3):
        labeller.classes[0].click()
    assert old.comm is None, "closed: the notebook passes over what is clicked there while training"


def test_an_error_while_training_is_shown_with_what_to_do(labeller, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(campaign.checkpoint, "save", full)
    for _ in range(3):
        labeller.classes[0].click()
    assert text(labeller.message).startswith("OSError: No space left on device All answers are on the disk: run this")
    assert all(button.disabled for button in labeller.classes)
    monkeypatch.undo()
    labeller.go_on()
    assert text(labeller.status).startswith("1 of 3 in round 1; 9 labels")


def test_label_shows_it_and_goes_on_where_the_last_click_was(labeller, capsys):
    labeller.classes[0].click()
    lab.label(labeller.labelling)
    assert "Labeller(" in capsys.readouterr().out
    again = Labeller(labeller.labelling, show=lambda row: f"at {row[0]:.3f}")
    again.go_on()
    assert text(again.status).startswith("2 of 3 in round 0")
    assert text(again.row).startswith(f"at {labeller.labelling.ask().inputs[0, 0]:.3f}row ")
    assert "<img" in again.curve.value


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (np.zeros((8, 8, 1), np.uint8), ["<img"]),
        (np.zeros((8, 8)), ["<img"]),
        (np.zeros((8, 8, 3)), ["<img"]),
        (np.array([0.5, -2.0]), ["0.5", "-2"]),
        (np.zeros(100), ["<img"]),
        (np.zeros((1000, 500, 3), np.uint8), ["<img"]),
        ({"image": np.zeros((8, 8)), "age": np.float32(44.0)}, ["<img", "44"]),
    ],
)
def test_any_row_has_a_picture(row, shown):
    pool = jax.tree.map(lambda leaf: np.stack([leaf, leaf + 1]), row)
    assert all(part in picture(row, bounds(pool)) for part in shown)


def test_black_and_white_are_the_lowest_and_highest_value_of_the_pool():
    pool = {"a": np.arange(6.0).reshape(3, 2), "b": np.array([7, 9, 8])}
    assert bounds(pool) == [(0, 5), (7, 9)]
    grey = np.full((8, 8), 16.0)
    assert picture(grey, [(0, 16)]) != picture(grey, [(0, 255)])
