"""What a campaign is asked to do, its finished rounds on the host, and the tidy tables made of them."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from al_jax.data import Dataset, original_rows_of
from al_jax.sweep import Repetition, text
from al_jax.types import RoundInfo

INITIAL = -1
"""The round of the rows that a campaign begins with."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a campaign runs, whatever its data, posterior and acquisition."""

    seeds: int = 8
    """Number of repetitions; each has its own initial rows, network initialisation and posterior samples."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ...; campaigns with equal seeds are paired."""
    initial_labels: int = 20
    """Labelled rows to begin with."""
    balanced: bool = True
    """Begin with equally many rows of each class, instead of random rows."""
    batch_size: int = 10
    """B, rows acquired a round."""
    max_labels: int = 220
    """Budget: total number of labelled rows, the initial ones included."""
    num_samples: int = 50
    """K, posterior samples for the scores and for the metrics."""
    test_samples: int | None = None
    """Fewer posterior samples for the metrics, drawn for themselves; by default those of the scores."""
    pool_subset: int | None = None
    """Offer the acquisition only this many random pool rows a round."""
    warm_start: bool = False
    """Continue from last round's parameters instead of training from scratch."""
    evaluate: Literal["samples", "point"] = "samples"
    """Metrics of the mean over posterior samples, or of the deterministic network."""
    chunk_size: int | None = None
    """Rows predicted at a time: small chunks stay in a CPU's cache, large ones fill a GPU; by default see `chunks`."""
    seed_block: int = 4
    """Seeds vmapped together on a device; results do not depend on the number of devices, but they do on this."""
    mode: Literal["replicas", "pool"] = "replicas"
    """How devices share the work: each runs seeds of its own, or each scores a part of the pool for all seeds."""
    pool_on: Literal["device", "host"] = "device"
    """Where the pool's inputs are: a pool on the host streams through the devices and may be larger than memory."""


class Record(NamedTuple):
    """A finished round on the host, with a leading axis for seeds."""

    info: RoundInfo
    labels: np.ndarray  # [S, B, ...] the oracle's answers
    answered: np.ndarray  # bool [S, B] rows that went to the labelled buffer
    seconds: np.ndarray  # [] wall time of the round, all seeds together


def finite(records: list[Record]) -> np.ndarray:
    """bool [S]: every fit so far was finite."""
    return np.all([record.info.fit["finite"] for record in records], axis=0)


def without_twins(info: RoundInfo) -> tuple[RoundInfo, list[Any]]:
    """What is kept of a round, and its generated rows, [] or [twins]: the labelled buffer has them."""
    told = dict(info.info)
    twins = [told.pop("twins")] if "twins" in told else []
    return info._replace(info=told), twins


def at_end(info: RoundInfo, settings: Settings) -> np.ndarray:
    """bool [S]: the seeds that have reached the budget, or have no row left in the pool."""
    return np.asarray((info.num_labelled >= settings.max_labels) | ~info.valid.any(axis=1))


def complete(records: list[Record], settings: Settings) -> bool:
    """Whether every seed has come to its end or was stopped."""
    return bool((at_end(records[-1].info, settings) | ~finite(records)).all())


def seeds_of(settings: Settings) -> range:
    """The seeds of a campaign."""
    return range(settings.first_seed, settings.first_seed + settings.seeds)


def kept(
    records: list[Record], settings: Settings, repetitions: Sequence[Repetition]
) -> Iterator[tuple[Repetition, int, int, Record]]:
    """(repetition, its index, round, record) up to each one's end: its first round `at_end`, or its last finite one.

    One without a finite round keeps the first, so that it is counted among the seeds.
    """
    for index, repetition in enumerate(repetitions):
        for number, record in enumerate(records):
            if number and not record.info.fit["finite"][index]:
                break
            yield repetition, index, number, record
            if at_end(record.info, settings)[index] or not record.info.fit["finite"][index]:
                break


def stopped(records: list[Record], repetitions: Sequence[Repetition]) -> dict[Any, str]:
    """Why each seed that did not reach the budget was stopped; of a sweep, by the repetition's name."""
    rows = [(repetitions[index], index) for index in np.flatnonzero(~finite(records)).tolist()]
    return {row.name if row.values else row.seed: _why(records, index) for row, index in rows}


def _why(records: list[Record], index: int) -> str:
    number = next(n for n, record in enumerate(records) if not record.info.fit["finite"][index])
    labels = records[number].info.num_labelled[index]
    return (
        f"training diverged in round {number}, at {labels} labels: the loss or a parameter is not finite. The rounds "
        "before are kept; lower the learning rate, or normalise the inputs"
    )


def tables(
    records: list[Record],
    settings: Settings,
    repetitions: Sequence[Repetition],
    dataset: Dataset,
    start: np.ndarray,
    method: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tidy tables `rounds` and `acquired` of `Campaign`; rounds after a seed's end are left out.

    `start [S, m]` are the initial rows. Swept numbers have columns of their own and stand in the name of the method, so
    that every setting is a method of its own to whatever reads the tables. Metrics of a seed that diverged in its first
    round are NaN there: it never reaches an accuracy, and has no area.
    """
    rounds, acquired, origin = [], [], original_rows_of(dataset)

    def named(repetition: Repetition, number: int) -> dict[str, Any]:
        name = f"{method}, {text(repetition.values)}" if repetition.values else method
        return {"method": name, **repetition.values, "seed": repetition.seed, "round": number}

    def labelled(repetition: Repetition, number: int, pick: int, row: int, score: float, label: Any) -> dict[str, Any]:
        told = {**named(repetition, number), "pick": pick, "row": row}
        told |= {"original_row": int(origin[row]), "score": score}
        return told | ({"label": label.item()} if np.ndim(label) == 0 else {})

    for repetition, index, number, record in kept(records, settings, repetitions):
        info = record.info
        if number == 0:
            for pick, first in enumerate(start[index].tolist()):
                acquired.append(labelled(repetition, INITIAL, pick, first, np.nan, dataset.labels[first]))
        row = {**named(repetition, number), "num_labelled": int(info.num_labelled[index])}
        diverged = not info.fit["finite"][index]
        row |= {name: np.nan if diverged else value[index].item() for name, value in info.metrics.items()}
        row |= {f"fit_{name}": value[index].item() for name, value in info.fit.items()}
        row |= {f"info_{name}": value[index].item() for name, value in info.info.items() if value.ndim == 1}
        rounds.append(row | {"seconds": float(record.seconds)})
        per_pick = {name: value for name, value in info.info.items() if value.shape == info.rows.shape}
        for pick in np.flatnonzero(record.answered[index]).tolist():
            score, label = info.scores[index, pick].item(), record.labels[index, pick]
            told = labelled(repetition, number, pick, int(info.rows[index, pick]), score, label)
            acquired.append(told | {f"info_{name}": value[index, pick].item() for name, value in per_pick.items()})
    # When a campaign begins without labels and every seed stops at once, the table must still have its columns.
    columns = ["method", "seed", "round", "pick", "row", "original_row", "score", "label"]
    return pd.DataFrame(rounds), pd.DataFrame(acquired, columns=None if acquired else columns)
