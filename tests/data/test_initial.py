"""Initial rows are distinct, balanced when asked, allowed, and a function of the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_jax.data import initial_rows

LABELS = (np.arange(90) % 3).astype(np.int32)


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.lists(st.integers(20, 40), min_size=3, max_size=3))
def test_balanced_rows_are_distinct_and_every_class_has_its_share(seed: int, size: int, counts: list[int]) -> None:
    labels = np.repeat(np.arange(3), counts)
    rows = initial_rows(seed, labels, size, 3)
    assert rows.dtype == np.int32
    assert len(set(rows.tolist())) == len(rows) == size
    per_class = [sum(labels[r] == c for r in rows) for c in range(3)]
    assert max(per_class) - min(per_class) <= 1


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 90))
def test_random_rows_are_distinct(seed: int, size: int) -> None:
    rows = initial_rows(seed, LABELS, size, 3, balanced=False)
    assert rows.dtype == np.int32
    assert len(set(rows.tolist())) == len(rows) == size
    assert set(rows.tolist()) <= set(range(90))


@given(seed=st.integers(0, 2**32 - 1), mask=st.lists(st.booleans(), min_size=90, max_size=90), balanced=st.booleans())
def test_only_allowed_rows_are_chosen(seed: int, mask: list[bool], balanced: bool) -> None:
    among = np.array(mask) | (np.arange(90) < 6)  # two rows of every class at least
    rows = initial_rows(seed, LABELS, 6, 3, balanced, among)
    assert all(among[r] for r in rows)


@pytest.mark.parametrize("balanced", [True, False])
def test_rows_depend_on_the_seed_alone(balanced: bool) -> None:
    first = initial_rows(3, LABELS, 20, 3, balanced)
    np.random.default_rng(0).random(100)
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(first, initial_rows(3, LABELS, 20, 3, balanced))
    assert not np.array_equal(first, initial_rows(4, LABELS, 20, 3, balanced))


def test_every_row_is_equally_likely() -> None:
    for balanced in (True, False):
        hits = np.zeros(90)
        for seed in range(3000):
            hits[initial_rows(seed, LABELS, 10, 3, balanced)] += 1
        expected = 3000 * 10 / 90
        assert np.abs(hits - expected).max() < 5 * np.sqrt(expected)  # five standard deviations


def test_the_remainder_falls_on_every_class() -> None:
    larger = [np.bincount(LABELS[initial_rows(seed, LABELS, 4, 3)]).argmax() for seed in range(300)]
    assert np.bincount(larger).min() > 60


def test_the_remainder_avoids_exhausted_classes_whatever_the_seed() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2])  # two rows of class 0: only 1 and 2 can give a third
    for seed in range(30):
        assert sorted(labels[initial_rows(seed, labels, 8, 3)]) == labels.tolist()
        assert np.bincount(labels[initial_rows(seed, labels, 7, 3)])[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial_labels": -1}, r"^initial_labels=-1: expected 0\.\.90"),
        ({"initial_labels": 91}, r"^initial_labels=91: expected 0\.\.90"),
        ({"initial_labels": 91, "balanced": False}, r"^initial_labels=91: expected 0\.\.90"),
        ({"initial_labels": 5, "among": LABELS == 9}, r"^initial_labels=5: expected 0\.\.0"),
        ({"initial_labels": 2}, r"initial set without every class when balanced was asked"),
        ({"initial_labels": 0}, r"initial set without every class when balanced was asked"),
        ({"initial_labels": 6, "among": LABELS != 1}, r"class 1 has 0 rows .* at least 2 of every class"),
        (
            {"initial_labels": 3, "num_classes": 4, "balanced": True, "labels": LABELS[:2]},
            r"^initial_labels=3: expected 0\.\.2",
        ),
        ({"initial_labels": 8, "num_classes": 4}, r"class 3 has 0 rows"),
        (
            {"initial_labels": 5, "labels": np.array([0, 1, 2, 2, 2])},
            r"class 0 has 1, class 1 has 1 rows .* at least 2 of every class",
        ),
        ({"initial_labels": 3, "among": np.arange(90)}, r"^among is int64\[90\]: expected bool\[90\]"),
        ({"initial_labels": 3, "among": np.ones(3, bool)}, r"^among is bool\[3\]: expected bool\[90\]"),
    ],
)
def test_impossible_requests_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initial_rows(**{"seed": 0, "labels": LABELS, "num_classes": 3} | arguments)
