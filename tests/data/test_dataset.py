"""A data set is checked once, and a validation split leaves the pool for good."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.data import (
    Dataset,
    check,
    digits,
    fewer_test_rows,
    imbalanced,
    load,
    original_rows_of,
    repeated,
    subset,
    with_initial,
    with_validation,
)
from al_jax.data.dataset import take_pool
from al_jax.errors import unknown


def unique(pool: int = 60, test: int = 12, num_classes: int = 3) -> Dataset:
    """Every row carries its own number, so that it can be recognised wherever it went."""
    numbers = np.arange(pool + test, dtype=np.float32)[:, None]
    labels = (np.arange(pool + test) % num_classes).astype(np.int32)
    return Dataset("unique", numbers[:pool], labels[:pool], numbers[pool:], labels[pool:], num_classes)


UNIQUE = unique()


def changed(**fields: Any) -> Dataset:
    return unique()._replace(**fields)


def at(array: np.ndarray, rows: list[int], value: float) -> np.ndarray:
    array = array.copy()
    array[rows] = value
    return array


def test_check_returns_a_sound_data_set_unchanged() -> None:
    for dataset in (unique(), digits(), with_validation(unique(), 12)):
        for before, after in zip(dataset, check(dataset), strict=True):
            assert before is None or np.array_equal(before, after)
            assert getattr(before, "dtype", None) == getattr(after, "dtype", None)


def test_check_makes_int32_labels_and_numpy_leaves() -> None:
    loose = unique()._replace(labels=UNIQUE.labels.astype(np.int64), test_labels=UNIQUE.test_labels.astype(float))
    fixed = check(loose._replace(inputs={"x": jnp.asarray(UNIQUE.inputs)}, test_inputs={"x": UNIQUE.test_inputs}))
    assert fixed.labels.dtype == fixed.test_labels.dtype == np.int32
    assert isinstance(fixed.inputs["x"], np.ndarray)


SEQUENCES = {"tokens": np.ones((60, 4), np.int32), "mask": np.ones((60, 4), bool)}
SHORT = {"tokens": np.ones((12, 4), np.int32), "mask": np.ones((12, 4), bool)}


def test_check_accepts_a_dict_of_arrays() -> None:
    check(changed(inputs=SEQUENCES, test_inputs=SHORT))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": UNIQUE.labels[:-1]}, r"^inputs has 60 rows: expected 59, as in labels"),
        ({"test_inputs": UNIQUE.test_inputs[1:]}, r"^test_inputs has 11 rows: expected 12, as in test_labels"),
        (
            {"validation_inputs": UNIQUE.inputs[:5], "validation_labels": UNIQUE.labels[:4]},
            r"^validation_inputs has 5 rows: expected 4",
        ),
        ({"inputs": SEQUENCES | {"mask": np.ones((50, 4), bool)}}, r"^inputs\['mask'\] has 50 rows: expected 60"),
        ({"validation_inputs": UNIQUE.inputs}, r"^validation_labels=None: expected both"),
        ({"validation_labels": UNIQUE.labels}, r"^validation_inputs=None: expected both"),
        ({"labels": at(UNIQUE.labels, [7], 3)}, r"^labels has 3 in 1 rows \(7\): expected integers in 0\.\.2"),
        ({"labels": at(UNIQUE.labels, [4, 9], -1)}, r"^labels has -1, -1 in 2 rows \(4, 9\): expected integers"),
        ({"labels": at(UNIQUE.labels.astype(float), [5], 0.5)}, r"^labels has 0\.5 in 1 rows \(5\): expected integers"),
        ({"labels": at(UNIQUE.labels.astype(float), [6], np.nan)}, r"^labels has nan in 1 rows \(6\)"),
        ({"test_labels": at(UNIQUE.test_labels, [0], 99)}, r"^test_labels has 99 in 1 rows \(0\)"),
        ({"labels": np.eye(3, dtype=int)[UNIQUE.labels]}, r"^labels is int64\[60, 3\]: expected one integer per row"),
        ({"labels": np.full(60, "cat")}, r"^labels is <U3\[60\]: expected one integer per row"),
        ({"inputs": at(UNIQUE.inputs, [2], np.nan)}, r"^inputs has NaN or infinite values in 1 rows \(2\): expected"),
        ({"test_inputs": at(UNIQUE.test_inputs, [1, 3], -np.inf)}, r"^test_inputs has NaN .* in 2 rows \(1, 3\)"),
        ({"inputs": at(UNIQUE.inputs, list(range(8, 20)), np.inf)}, r"in 12 rows \(8, 9, 10, 11, 12, \.\.\.\)"),
        ({"inputs": list(UNIQUE.inputs)}, r"^inputs is a list of 60 arrays: expected one array of rows, np\.stack"),
        ({"inputs": [UNIQUE.inputs, list(range(3))]}, r"^inputs\[1\]\[0\] is int64\[\]: expected an array of numbers"),
        (
            {"labels": np.full(60, "cat")},
            r"^labels is <U3\[60\]: expected one integer per row; np\.unique.*classes=names",
        ),
        ({"labels": np.array([None] * 60)}, r"^labels is object\[60\]: .*classes=names"),
        (
            {"labels": np.where(np.arange(60) < 9, -1.0, np.nan)},
            r"^labels has -1.0, .*nobody knows.*lab\.labelling asks",
        ),
        ({"inputs": np.full((60, 1), "a")}, r"^inputs is <U1\[60, 1\]: expected an array of numbers"),
        ({"inputs": UNIQUE.inputs[:0], "labels": UNIQUE.labels[:0]}, r"^labels has 0 rows: expected at least 1"),
        ({"test_inputs": UNIQUE.inputs[:0], "test_labels": UNIQUE.labels[:0]}, r"^test_labels has 0 rows"),
        (
            {"test_inputs": np.ones((12, 2))},
            r"^test_inputs has rows of shape \(2,\): expected \(1,\), as in inputs",
        ),
        (
            {"validation_inputs": np.ones((2, 1, 1)), "validation_labels": np.zeros(2, int)},
            r"^validation_inputs has rows of shape \(1, 1\): expected \(1,\)",
        ),
        ({"inputs": SEQUENCES, "test_inputs": {"tokens": SHORT["tokens"]}}, r"^test_inputs has rows of shape"),
    ],
)
def test_check_names_what_is_wrong(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(changed(**fields))


@pytest.mark.parametrize("size", [3, 12, 57])
def test_validation_rows_leave_the_pool_with_their_labels(size: int) -> None:
    before = unique()
    after = check(with_validation(before, size, seed=5))
    assert after.validation_inputs is not None
    assert after.validation_labels is not None
    pool, moved = after.inputs[:, 0].astype(int), after.validation_inputs[:, 0].astype(int)
    assert len(moved) == size
    assert sorted([*pool, *moved]) == list(range(60))  # each row on exactly one side
    assert np.array_equal(after.labels, before.labels[pool])
    assert np.array_equal(after.validation_labels, before.labels[moved])
    assert [list(after.validation_labels).count(c) for c in range(3)] == [size / 3] * 3
    assert after.test_inputs is before.test_inputs
    assert after.test_labels is before.test_labels


def test_validation_follows_its_seed() -> None:
    one, same, other = (with_validation(unique(), 12, seed).inputs for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_validation_of_a_dict_moves_all_its_arrays_together() -> None:
    numbers = np.arange(60)
    after = with_validation(changed(inputs={"x": numbers, "y": -numbers}), 12)
    for split in (after.inputs, after.validation_inputs):
        assert split is not None
        assert np.array_equal(split["x"], -split["y"])


@pytest.mark.parametrize("size", [-1, 0, 2, 58, 60, 1000])
def test_validation_refuses_a_size_without_room_for_every_class(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^size={size}: expected 3\.\.57"):
        with_validation(unique(), size)


def test_validation_refuses_a_class_of_one_row() -> None:
    with pytest.raises(ValueError, match="one row only of class 2"):
        with_validation(changed(labels=at(UNIQUE.labels % 2, [7], 2)), 12)


def test_validation_is_split_once() -> None:
    with pytest.raises(ValueError, match="validation_labels has 12 rows already"):
        with_validation(with_validation(unique(), 12), 3)


def test_digits_are_raw_and_split_by_class() -> None:
    dataset = digits()
    assert dataset.inputs.shape == (1297, 8, 8, 1)
    assert dataset.test_inputs.shape == (500, 8, 8, 1)
    assert dataset.inputs.dtype == dataset.test_inputs.dtype == np.uint8
    assert (dataset.inputs.min(), dataset.inputs.max()) == (0, 16)
    for c in range(10):
        share = np.mean(dataset.labels == c)
        assert abs(np.sum(dataset.test_labels == c) - 500 * share) < 1.5


def test_digits_pool_and_test_partition_the_original_rows() -> None:
    from sklearn.datasets import load_digits

    def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        return [image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True)]

    original, labels = load_digits(return_X_y=True)
    dataset = digits()
    ours = rows(dataset.inputs, dataset.labels) + rows(dataset.test_inputs, dataset.test_labels)
    assert sorted(ours) == sorted(rows(original.astype(np.uint8), labels))  # as multisets


def test_digits_test_split_is_the_same_every_time() -> None:
    assert np.array_equal(digits().test_inputs, digits().test_inputs)
    assert not np.array_equal(digits().test_inputs, digits(seed=1).test_inputs)


def test_digits_refuse_an_impossible_test_size() -> None:
    with pytest.raises(ValueError, match=r"^test_size=1797: expected 10\.\.1787"):
        digits(1797)


def test_load_knows_its_data_sets() -> None:
    assert load("digits").name == "digits"
    with pytest.raises(ValueError, match=r"^dataset='digit' is unknown: did you mean 'digits'\? known: .*digits"):
        load("digit")


def test_an_unlike_name_gets_no_suggestion() -> None:
    assert str(unknown("score", "zzz", {"bald", "margin"})) == "score='zzz' is unknown; known: bald, margin"


# The pool's rows keep their origin, whatever is done to the pool.


def counted(size: int = 60) -> Dataset:
    """A data set whose inputs are the numbers of its rows."""
    labels = np.arange(size) % 3
    return check(Dataset("counted", np.arange(size), labels, np.arange(9), np.arange(9) % 3, 3))


def test_initial_rows_are_first_and_never_leave_the_pool():
    begun = with_initial(counted(), (7, 50, 3))
    assert begun.inputs[:3].tolist() == [7, 50, 3]
    assert begun.initial.tolist() == [0, 1, 2]
    smaller = subset(with_validation(begun, 12), 20)
    assert smaller.inputs[smaller.initial].tolist() == [7, 50, 3]
    assert len(smaller.labels) == 20
    assert not set(smaller.inputs) & set(smaller.validation_inputs)


def test_every_change_of_the_pool_keeps_the_origin_of_its_rows():
    changed = repeated(imbalanced(subset(with_validation(with_initial(counted(), (7, 50)), 12), 30), 0.5, (1,)), 2, 0.0)
    assert (changed.inputs == original_rows_of(changed)).all()
    assert (changed.labels == original_rows_of(changed) % 3).all()


def test_a_subset_is_a_function_of_its_seed():
    one, same, other = (subset(counted(), 20, seed) for seed in (0, 0, 1))
    assert one.inputs.tolist() == same.inputs.tolist() == sorted(one.inputs)
    assert one.inputs.tolist() != other.inputs.tolist()


def test_fewer_test_rows_change_the_test_set_alone_and_every_row_keeps_its_label():
    dataset = counted()._replace(test_inputs=np.arange(20.0), test_labels=np.arange(20) % 3)
    fewer, same = fewer_test_rows(dataset, 8), fewer_test_rows(dataset, 8)
    assert fewer.inputs is dataset.inputs
    assert fewer.labels is dataset.labels
    assert len(set(fewer.test_inputs)) == 8
    assert fewer.test_inputs.tolist() == same.test_inputs.tolist()
    assert fewer.test_labels.tolist() == (fewer.test_inputs % 3).tolist()
    assert fewer.test_inputs.tolist() != fewer_test_rows(dataset, 8, seed=1).test_inputs.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: fewer_test_rows(d, 0), "size=0: expected 1 to"),
        (lambda d: with_initial(d, (1, 1)), r"rows=\(1, 1\): expected different rows"),
        (lambda d: with_initial(d, (60,)), r"rows=\(60,\): expected different rows of the 60"),
        (lambda d: with_initial(d, ()), r"rows=\(\): expected different rows"),
        (lambda d: subset(d, 61), "size=61: expected 1 to 60"),
        (lambda d: subset(with_initial(d, (4, 5)), 2), "size=2: expected 3 to 60"),
        (lambda d: with_validation(repeated(d, 2, 0.0), 12), "copies of rows: take validation rows first"),
        (lambda d: take_pool(with_initial(d, (4, 5)), np.arange(1, 9)), "initial has row 0, which would leave"),
    ],
)
def test_a_change_that_cannot_be_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        change(counted())
