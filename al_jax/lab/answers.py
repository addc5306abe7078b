"""`answers.jsonl`, everything a person did in a campaign, one line each, and what may be added to it.

`{"round": 0, "asked": [7, 3]}` opens a round, `{"round": 0, "row": 7, "label": 2}` labels a row (null skips it,
"excluded" takes it out of the pool), `{"round": 0, "undo": 7}` takes that back, `{"round": 0, "closed": true}` sends
the answers to the campaign.
"""

import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from al_jax.campaign.store import StoreError

Answer: TypeAlias = int | Literal["excluded"] | None
"""A class; out of the pool for good; None: skipped."""
EXCLUDED: Answer = "excluded"


class Answers(NamedTuple):
    """What the file says of one round."""

    asked: list[int]
    given: dict[int, Answer]  # in the order they came
    closed: bool


def left_in(answers: Answers) -> list[int]:
    """The rows that wait for an answer, in the order they were picked."""
    return [row for row in answers.asked if row not in answers.given]


def append(file: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Add a line for each event, on the disk when this returns. Half a line, left by a kill, is removed first."""
    with open(file, "r+b" if file.exists() else "w+b") as out:
        out.seek(out.read().rfind(b"\n") + 1)
        out.truncate()
        out.write("".join(json.dumps(event) + "\n" for event in events).encode())
        out.flush()
        os.fsync(out.fileno())


def read(file: Path) -> dict[int, Answers]:
    """The rounds that the file has; half a line at its end never was an answer. StoreError when another is damaged."""
    rounds: dict[int, Answers] = {}
    *lines, _ = file.read_bytes().split(b"\n") if file.exists() else [b""]
    for number, line in enumerate(lines, 1):
        try:
            match json.loads(line):
                case {"round": int(n), "asked": list(asked)}:
                    rounds[n] = Answers(asked, {}, False)
                case {"round": int(n), "row": int(row), "label": int() | None | "excluded" as label}:
                    rounds[n].given[row] = label
                case {"round": int(n), "undo": int(row)}:
                    del rounds[n].given[row]
                case {"round": int(n), "closed": True}:
                    rounds[n] = rounds[n]._replace(closed=True)
                case other:
                    raise ValueError(other)
        except (ValueError, KeyError) as error:
            raise StoreError(f"{file} is damaged in line {number}: {line.decode(errors='replace')!r}") from error
    return rounds


def waiting(rows: Iterable[Any], number: int, answers: dict[int, Answers]) -> list[int]:
    """The rows, as integers; ValueError unless each waits for an answer in this round and is given once."""
    now, checked = answers[number], list[int]()
    for value in rows:
        try:
            row = operator.index(value)
        except TypeError:
            raise ValueError(f"row {value!r}: expected an integer, a row of the pool") from None
        if row in checked:
            raise ValueError(f"row {row} is given twice: expected once")
        if row in now.given:
            before = now.given[row]
            was = f"labelled {before}" if isinstance(before, int) else before or "skipped"
            raise ValueError(f"row {row} was {was} in this round already: undo() takes back the last answer")
        if row not in now.asked:
            kinds = [(n, r.given[row]) for n, r in answers.items() if r.given.get(row) is not None]
            earlier = [f", it was {'labelled' if isinstance(a, int) else a} in round {n}" for n, a in kinds]
            left = ", ".join(map(str, left_in(now))) or "none, all have their answers"
            raise ValueError(f"row {row} is not asked for in round {number}{''.join(earlier)}: expected some of {left}")
        checked.append(row)
    return checked


def class_number(label: Any, row: int, classes: list[str]) -> int:
    """The number of a class; ValueError, naming label and row, when it is neither a class nor the name of one."""
    if isinstance(label, str):
        if label not in classes:
            raise ValueError(f"label {label!r} of row {row}: expected one of {', '.join(map(repr, classes))}")
        return classes.index(label)
    try:
        number = operator.index(label)
    except TypeError:
        number = -1
    if not 0 <= number < len(classes):
        raise ValueError(f"label {label!r} of row {row}: expected 0 to {len(classes) - 1}, or the name of a class")
    return number
