"""A person as the oracle, from Python: `ask` and `tell`. Every answer is on the disk before `tell` returns.

The results folder holds what every campaign's does (see `store`) and the answers (see `answers`). Whoever opens it
again is asked for the same rows and has all answers. `widget` is the same with buttons.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from al_jax import campaign
from al_jax.campaign import Campaign, Proposed
from al_jax.campaign.checkpoint import wait
from al_jax.campaign.records import INITIAL, Settings
from al_jax.campaign.store import Store, StoreError, finished, open_store, read_table
from al_jax.data import Dataset
from al_jax.data.dataset import HostInputs, num_classes, original_rows_of, take
from al_jax.lab.answers import EXCLUDED, Answer, Answers, append, class_number, left_in, read, waiting
from al_jax.lab.unlabelled import UNKNOWN, begun, numbered
from al_jax.types import Acquisition, Likelihood, Posterior

Loop = Generator[Proposed, tuple[np.ndarray, ...], Campaign]


class Asked(NamedTuple):
    """The rows of a round that wait for an answer, and what the model that chose them is worth."""

    round: int
    rows: np.ndarray  # int32 [n] of the pool, in the order they were picked; without those labelled or skipped
    inputs: HostInputs  # [n, ...]
    scores: np.ndarray  # [n]
    size: int  # rows of the whole round
    num_labelled: int  # rows the model was trained on
    metrics: dict[str, float]  # of this model on the test split


class Labelling:
    """A campaign that waits for a person; `labelling` opens one.

    The rows of a round may be answered in any order and in several calls, and taken back until `ask` closes the round:
    the next `ask` after each of them is labelled, skipped or excluded. An error or an interrupt while training loses
    nothing: ask again, and it goes on from the folder.
    """

    def __init__(
        self,
        store: Store,
        start: Callable[[], Loop],
        dataset: Dataset,
        settings: Settings,
        classes: Sequence[str],
        initial: np.ndarray,
    ) -> None:
        self.directory, self.inputs, self.classes = store.directory, dataset.inputs, list(classes)
        self._labels, self._initial, self._origin = dataset.labels, initial, original_rows_of(dataset)
        self.campaign: Campaign | None = campaign.load(store.directory) if finished(store.directory) else None
        self._file = store.directory / "answers.jsonl"
        self._store, self._start, self._settings = store, start, settings
        self._loop: Loop | None = None
        self._open: Proposed | None = None

    @property
    def rounds(self) -> pd.DataFrame:
        """A row for every round so far, the open one included: `num_labelled`, accuracy and the other metrics."""
        if self.campaign is not None:
            return self.campaign.rounds
        file = self.directory / "rounds.csv"
        table = read_table(file) if file.exists() else pd.DataFrame()
        if self._open is None:
            return table
        asked = self._asked(self._open, [])
        now = {"round": asked.round, "num_labelled": asked.num_labelled, **asked.metrics}
        return pd.concat([table[: asked.round], pd.DataFrame([now])], ignore_index=True)

    @property
    def num_waiting(self) -> int:
        """Rows of the open round that wait for an answer. At 0 the next `ask` trains, unless the campaign has ended."""
        return 0 if self._open is None else len(left_in(read(self._file)[self._open.round]))

    def ask(self) -> Asked | None:
        """What waits for an answer; when nothing does, train on the answers and ask for the next round.

        None when the budget is reached, or training diverged: `campaign` says which.
        """
        while (proposed := self._current()) is not None:
            if left := left_in(read(self._file)[proposed.round]):
                return self._asked(proposed, left)
            append(self._file, [{"round": proposed.round, "closed": True}])
        return None

    def tell(self, rows: Any, labels: Any = None) -> None:
        """Label rows of the open round: `tell([3, 17], [0, 9])`, `tell({3: "zero"})`; a label is a class or its name.

        ValueError, before anything is written, naming the row or the label, unless each row waits for its answer in
        this round and is given once, and each label is one of the classes.
        """
        if isinstance(rows, Mapping) and labels is None:
            rows, labels = list(rows), list(rows.values())
        rows, labels = _listed(rows), _listed(labels)
        if len(rows) != len(labels):
            raise ValueError(f"labels has {len(labels)} entries: expected {len(rows)}, one for each of rows")
        number, answers = self._round(rows)
        waits = waiting(rows, number, answers)
        given = [class_number(label, row, self.classes) for row, label in zip(waits, labels, strict=True)]
        self._write(number, waits, given)

    def skip(self, rows: Any = None) -> None:
        """Leave rows of the open round without a label, by default all that wait for one; they stay in the pool.

        ValueError as of `tell`, and when every row of the round would be skipped, for they would come back.
        """
        number, answers = self._round(rows)
        now = answers[number]
        waits = waiting(left_in(now) if rows is None else _listed(rows), number, answers)
        if {*waits, *(row for row, answer in now.given.items() if answer is None)} == {*now.asked}:
            raise ValueError(
                f"every row of round {number} would be skipped, and come back: expected at least 1 label a round; "
                "exclude() takes rows out of the pool that nobody can label"
            )
        self._write(number, waits, [None] * len(waits))

    def exclude(self, rows: Any = None) -> None:
        """Take rows of the open round, by default all that wait, out of the pool for good: nobody can label them.

        A round without any label is one of the same model with other rows. ValueError as of `tell`.
        """
        number, answers = self._round(rows)
        waits = waiting(left_in(answers[number]) if rows is None else _listed(rows), number, answers)
        self._write(number, waits, [EXCLUDED] * len(waits))

    def labelled(self) -> pd.DataFrame:
        """A row for every label so far: round (-1: at the start), row, original_row, label, and the class's name.

        See `campaign.Campaign.acquired`.
        """
        rows = [(INITIAL, row, int(self._labels[row])) for row in self._initial.tolist()]
        for number, answers in read(self._file).items():
            order = [(number, row, answers.given.get(row)) for row in answers.asked]
            rows += [(number, row, label) for number, row, label in order if isinstance(label, int)]
        table = pd.DataFrame(rows, columns=["round", "row", "label"])
        table.insert(2, "original_row", self._origin[table.row])
        return table.assign(**{"class": [self.classes[label] for label in table.label]})

    def undo(self) -> int:
        """Take back the last answer of the open round, label, skip or exclusion: its row. ValueError without any."""
        number, answers = self._round()
        if not answers[number].given:
            raise ValueError(f"round {number} has no answer yet: expected one to take back")
        row = list(answers[number].given)[-1]
        append(self._file, [{"round": number, "undo": row}])
        return row

    def _write(self, number: int, rows: list[int], labels: Sequence[Answer]) -> None:
        append(self._file, [{"round": number, "row": r, "label": c} for r, c in zip(rows, labels, strict=True)])

    def _round(self, rows: Any = ()) -> tuple[int, dict[int, Answers]]:
        """The open round, and the answers of all rounds; ValueError, naming `rows`, when the campaign has ended."""
        proposed = self._current()
        if proposed is None:
            raise ValueError(f"rows={rows}: nothing is asked for, the campaign in {self.directory} has ended")
        return proposed.round, read(self._file)

    def _current(self) -> Proposed | None:
        """The first round that is not closed, after whatever training is between here and there."""
        if self._loop is None and self.campaign is None:
            self._loop = self._start()
            self._go_on(None)
        while self._open is not None and (answers := read(self._file)[self._open.round]).closed:
            rows = np.asarray(self._open.info.rows)  # [1, B]
            given = [answers.given.get(row) for row in rows[0].tolist()]
            labels = [answer if isinstance(answer, int) else UNKNOWN for answer in given]
            excluded = [answer == EXCLUDED for answer in given]
            self._go_on((np.array([labels], np.int32), np.array([labels]) != UNKNOWN, np.array([excluded])))
        return self._open

    def _go_on(self, answers: tuple[np.ndarray, ...] | None) -> None:
        assert self._loop is not None
        try:
            self._open = self._loop.send(answers)  # type: ignore[arg-type]  # None starts a generator
            wait(self._store)  # a script may end here, and a checkpoint that is half written would be lost
            self._record(self._open)
        except StopIteration as end:
            self._loop, self._open, self.campaign = None, None, end.value
        except BaseException:
            self._loop = self._open = None  # a generator that raised is over: the next call goes on from the folder
            raise

    def _record(self, proposed: Proposed) -> None:
        """Note what is asked for; StoreError when this round of this folder had asked for something else."""
        asked, before = self._picks(proposed), read(self._file).get(proposed.round)
        if before is None:
            append(self._file, [{"round": proposed.round, "asked": asked}])
        elif before.asked != asked:
            raise StoreError(
                f"round {proposed.round} of {self.directory} asked for the rows {before.asked}, now for {asked}: "
                "expected the posterior, the acquisition and the machine that it was begun with"
            )

    def _picks(self, proposed: Proposed) -> list[int]:
        """The rows of a round, no more than the budget has room for."""
        room = self._settings.max_labels - int(proposed.info.num_labelled[0])
        return np.asarray(proposed.info.rows)[0][proposed.wanted[0]][:room].tolist()

    def _asked(self, proposed: Proposed, left: list[int]) -> Asked:
        info = proposed.info
        scores = dict(zip(np.asarray(info.rows)[0].tolist(), np.asarray(info.scores)[0], strict=True))
        rows = np.array(left, np.int32)
        metrics = {name: value[0].item() for name, value in info.metrics.items()}
        of_rows = np.array([scores[row] for row in left])
        size, labelled = len(self._picks(proposed)), int(info.num_labelled[0])
        return Asked(proposed.round, rows, take(self.inputs, rows), of_rows, size, labelled, metrics)


def labelling(
    posterior: Posterior,
    acquisition: Acquisition,
    dataset: Dataset,
    settings: Settings,
    directory: str | Path,
    *,
    classes: Sequence[str] | None = None,
    likelihood: Likelihood | None = None,
    method: str = "campaign",
    allow_inexact: bool = False,
) -> Labelling:
    """Open a campaign that a person labels: begin it, or go on with what `directory` holds. Nothing is trained yet.

    Args:
      dataset: pool rows that nobody has labelled have the label -1, None or NaN. The others are then the initial rows,
        and `initial_labels` is their number. Without any such the initial rows are drawn as in `campaign.run`, and the
        other stored labels are never looked at. Labels may be numbers or names of classes.
      settings: with `seeds=1`.
      directory: results folder of this campaign alone.
      classes: names of the classes; their numbers by default.
      likelihood: as in `campaign.run`.
      method: likewise.
      allow_inexact: go on on another platform or with other versions, though other rows may then be asked for.

    ValueError as of `campaign.run`, for several seeds, and unless `classes` are as many distinct names as there are
    classes. StoreError when the folder belongs to other data, settings or classes.
    """
    if settings.seeds != 1:
        raise ValueError(f"seeds={settings.seeds}: expected 1, one person labels one campaign")
    number = num_classes(dataset)
    names = [str(c) for c in range(number)] if classes is None else list(classes)
    if len(names) != number or len({*names}) < len(names) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"classes={names}: expected {number} distinct names")
    dataset, settings, initial = begun(numbered(dataset, names), settings)
    data = {"name": dataset.name, "checksum": _checksum(dataset._replace(name=()))}  # type: ignore[arg-type]
    config = {"method": method, "data": data, "classes": names, "settings": dataclasses.asdict(settings)}
    store = open_store(Path(directory).expanduser(), config, resume=True, allow_inexact=allow_inexact)
    options: dict[str, Any] = {"likelihood": likelihood, "method": method, "initial": initial, "results": store}
    start = functools.partial(campaign.rounds, posterior, acquisition, dataset, settings, **options)
    return Labelling(store, start, dataset, settings, names, initial[0])


def _checksum(tree: Any) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(f"{np.shape(leaf)} {np.asarray(leaf).dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _listed(values: Any) -> list[Any]:
    return [values] if np.ndim(values) == 0 else list(values)
