"""A person as the oracle, in a notebook: the picked rows, a button for each class, and the campaign goes on."""

import functools
import html
from collections.abc import Callable
from typing import Any

import ipywidgets
import jax
import numpy as np

from al_jax.lab.labelling import Asked, Labelling
from al_jax.lab.pictures import bounds, curve, picture

WRAP = {"flex_flow": "row wrap"}


class Labeller(ipywidgets.VBox):
    """The picked rows of a campaign, one at a time, with a button for each class, Skip, Exclude and Undo.

    `show` makes HTML of one row of the inputs. The buttons are `classes`, `skip`, `exclude` and `undo`; `status`,
    `row`, `curve` and `message` are texts. Nothing is trained before `go_on`, which `al_jax.lab.label` calls.
    """

    def __init__(self, labelling: Labelling, show: Callable[[Any], str] | None = None) -> None:
        self.labelling = labelling
        self.picture = show or functools.partial(picture, limits=bounds(labelling.inputs))
        self.shown = np.zeros(0, np.int32)  # the row whose picture is shown, [1], or none
        self.status, self.row, self.curve, self.message = (ipywidgets.HTML() for _ in range(4))
        self.buttons = ipywidgets.VBox()
        self._new_buttons()
        left = ipywidgets.VBox([self.row, self.buttons], layout={"width": "420px"})
        super().__init__([self.status, ipywidgets.HBox([left, self.curve], layout=WRAP), self.message])

    def go_on(self) -> None:
        """Show the next row that waits for an answer; when none does, train first. Errors are shown and raised."""
        trains = self.labelling.num_waiting == 0
        try:
            if trains:
                self._new_buttons()
                self.status.value = "<b>Training</b> on all labels so far …"
            asked = self.labelling.ask()
            if trains or not self.curve.value:
                self.curve.value = curve(self.labelling.rounds)
        except BaseException as error:
            self._say(error, "All answers are on the disk: run this cell again to go on.")
            raise
        if asked is None:
            self._end()
        else:
            self._show(asked)

    def _show(self, asked: Asked) -> None:
        self.shown = asked.rows[:1]
        self.status.value = (
            f"<b>{asked.size - len(asked.rows) + 1} of {asked.size}</b> in round {asked.round}; "
            f"{asked.num_labelled} labels{_accuracy(asked.metrics)}"
        )
        first = jax.tree.map(lambda leaf: leaf[0], asked.inputs)
        self.row.value = f"{self.picture(first)}<div style='color: #767676'>row {asked.rows[0]} of the pool</div>"
        for button in (*self.classes, self.skip, self.exclude, self.undo):
            button.disabled = False
        self.undo.disabled = len(asked.rows) == asked.size

    def _end(self) -> None:
        ended = self.labelling.campaign
        assert ended is not None
        last = ended.rounds.iloc[-1] if len(ended.rounds) else {}
        self.row.value, self.buttons.children = "", ()
        self.status.value = f"<b>Finished</b> with {last.get('num_labelled', 0)} labels{_accuracy(last)}"
        self.message.value = html.escape(" ".join(ended.stopped.values()) or f"Results: {self.labelling.directory}")

    def _tell(self, label: int) -> None:
        self.labelling.tell(self.shown, [label])

    def _clicked(self, act: Callable[[], object], _: ipywidgets.Button) -> None:
        self.message.value = ""
        try:
            act()
        except Exception as error:
            self._say(error)
            raise
        self.go_on()

    def _say(self, error: BaseException, hint: str = "") -> None:
        said = html.escape(f"{type(error).__name__}: {error}")
        self.message.value = f"<span style='color: #b00020'>{said}</span> {hint}"

    def _new_buttons(self) -> None:
        """Each round has its own buttons, disabled at first: what is clicked while training must label nothing."""
        for box in self.buttons.children:
            for button in box.children:
                button.close()
        self.classes = [
            self._button(name, functools.partial(self._tell, number), width="auto", min_width="56px")
            for number, name in enumerate(self.labelling.classes)
        ]
        self.skip = self._button("Skip", lambda: self.labelling.skip(self.shown), icon="forward", width="100px")
        self.exclude = self._button("Exclude", lambda: self.labelling.exclude(self.shown), icon="trash", width="100px")
        self.exclude.tooltip = "nobody can label it: it never comes back"
        self.undo = self._button("Undo", self.labelling.undo, icon="undo", width="100px")
        self.buttons.children = [
            ipywidgets.HBox(self.classes, layout=WRAP),
            ipywidgets.HBox([self.skip, self.exclude, self.undo]),
        ]

    def _button(self, name: str, act: Callable[[], object], icon: str = "", **layout: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=name, icon=icon, layout=layout, disabled=True)
        button.on_click(functools.partial(self._clicked, act))
        return button


def _accuracy(metrics: Any) -> str:
    return f", accuracy {100 * metrics['accuracy']:.1f} %" if "accuracy" in metrics else ""
