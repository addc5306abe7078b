"""Variants change the pool and nothing else."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_jax.data import Dataset, check, digits, imbalanced, noisy_labels, repeated, with_validation


def numbered(pool: int = 60, num_classes: int = 3) -> Dataset:
    """Every row carries its own number; the test and validation rows are negative."""
    inputs = np.arange(pool)[:, None]
    held = -1 - np.arange(2 * num_classes)[:, None]
    labels, held_labels = np.arange(pool) % num_classes, np.arange(2 * num_classes) % num_classes
    return check(Dataset("numbered", inputs, labels, held, held_labels, num_classes, held - 100, held_labels))


@pytest.mark.parametrize(
    "variant",
    [repeated, lambda d: imbalanced(d, 0.25, [0, 2]), lambda d: noisy_labels(d, 0.5), lambda d: repeated(d, 2, 0.0)],
)
def test_test_and_validation_are_untouched_and_stay_out_of_the_pool(variant: Callable[[Dataset], Dataset]) -> None:
    before = numbered()
    kept = jax.tree.map(np.copy, before[1:5])
    after = check(variant(before))
    for field in ("test_inputs", "test_labels", "validation_inputs", "validation_labels", "num_classes"):
        assert getattr(after, field) is getattr(before, field)
    assert all(np.array_equal(x, y) for x, y in zip(kept, before[1:5], strict=True))  # the argument is not written to
    assert after.validation_inputs is not None
    held = {row.tobytes() for row in (*after.test_inputs, *after.validation_inputs)}
    assert not held & {row.astype(before.inputs.dtype).tobytes() for row in np.round(after.inputs)}


@pytest.mark.parametrize(
    "variant", [repeated, lambda d, seed: imbalanced(d, 0.5, [1], seed), lambda d, seed: noisy_labels(d, 0.5, seed)]
)
def test_variants_follow_their_seed(variant: Callable[..., Dataset]) -> None:
    one, same, other = (variant(numbered(), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.inputs, same.inputs)
    assert np.array_equal(one.labels, same.labels)
    assert not (np.array_equal(one.inputs, other.inputs) and np.array_equal(one.labels, other.labels))


def test_names_tell_the_variant() -> None:
    assert repeated(numbered()).name == "numbered repeated=3"
    assert imbalanced(numbered(), 0.1, [2, 0]).name == "numbered imbalanced=0.1 classes=0,2"
    assert noisy_labels(repeated(numbered()), 0.2).name == "numbered repeated=3 noisy_labels=0.2"


def test_repeated_without_noise_is_every_row_so_many_times() -> None:
    before = digits()
    after = repeated(before, 3, 0.0)
    assert after.inputs.dtype == np.float32
    assert len(after.inputs) == len(after.labels) == 3 * 1297
    for k in range(3):
        assert np.array_equal(after.inputs[k * 1297 : (k + 1) * 1297], before.inputs)
        assert np.array_equal(after.labels[k * 1297 : (k + 1) * 1297], before.labels)


def test_repeated_noise_is_gaussian_isotropic_unclipped_and_fresh_in_every_copy() -> None:
    before = digits()
    after = repeated(before, 2, 0.5)
    noise = after.inputs.reshape(2, 1297, 64) - before.inputs.reshape(1, 1297, 64).astype(np.float32)
    per_pixel = noise.reshape(-1, 64)
    assert np.abs(per_pixel.mean(axis=0)).max() < 5 * 0.5 / np.sqrt(2594)
    assert np.abs(per_pixel.std(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(2 * 2594)
    assert 0.67 < np.mean(np.abs(noise) < 0.5) < 0.70  # a Gaussian has 0.683 within one standard deviation
    off_diagonal = np.corrcoef(per_pixel.T) - np.eye(64)
    assert np.abs(off_diagonal).max() < 6 / np.sqrt(2594)
    assert np.abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 5 / np.sqrt(noise[0].size)
    assert after.inputs.min() < 0
    assert after.inputs.max() > 16


def test_repeated_reaches_into_a_dict_of_one_array() -> None:
    before = numbered()._replace(inputs={"image": np.arange(60)[:, None]})
    assert np.array_equal(repeated(before, 2, 0.0).inputs["image"][:, 0], [*range(60), *range(60)])


@given(
    share=st.floats(0, 1), classes=st.sets(st.integers(0, 2)), seed=st.integers(0, 2**32 - 1), pool=st.integers(3, 80)
)
def test_imbalanced_thins_the_given_classes_only(share: float, classes: set[int], seed: int, pool: int) -> None:
    before = numbered(pool)
    after = imbalanced(before, share, sorted(classes), seed)
    for c in range(3):
        total = sum(label == c for label in before.labels)
        left = sum(label == c for label in after.labels)
        assert left == (max(1, round(share * total)) if c in classes else total)
    rows = after.inputs[:, 0]
    assert len(set(rows)) == len(rows)
    assert np.array_equal(after.labels, rows % 3)  # each row still has its own label


@given(rate=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_noisy_labels_are_legal_classes_and_leave_the_inputs(rate: float, seed: int) -> None:
    before = numbered()
    after = noisy_labels(before, rate, seed)
    assert after.inputs is before.inputs
    assert after.labels.dtype == np.int32
    assert set(after.labels) <= {0, 1, 2}


def test_noisy_labels_flip_at_the_rate_to_every_other_class_alike() -> None:
    before = numbered(30_000, 4)
    after = noisy_labels(before, 0.3)
    table = np.zeros((4, 4))
    np.add.at(table, (before.labels, after.labels), 1 / 7500)
    assert np.abs(table - (0.1 * np.ones((4, 4)) + 0.6 * np.eye(4))).max() < 5 * np.sqrt(0.7 * 0.3 / 7500)


def test_noisy_labels_at_the_extremes() -> None:
    before = numbered()
    assert np.array_equal(noisy_labels(before, 0.0).labels, before.labels)
    assert not (noisy_labels(before, 1.0).labels == before.labels).any()


def test_a_higher_rate_keeps_the_wrong_answers_of_a_lower_one() -> None:
    before = numbered()
    low, high = (noisy_labels(before, rate).labels for rate in (0.3, 0.6))
    wrong = low != before.labels
    assert wrong.any()
    assert np.array_equal(high[wrong], low[wrong])


def test_validation_before_repetition_leaves_no_copy_in_the_pool() -> None:
    before = numbered()._replace(validation_inputs=None, validation_labels=None)
    after = repeated(with_validation(before, 12), 3, 0.0)
    assert after.validation_inputs is not None
    assert not set(after.inputs[:, 0].astype(int)) & set(after.validation_inputs[:, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: repeated(numbered(), 0), r"^copies=0: expected at least 1"),
        (lambda: repeated(numbered(), 2, -0.1), r"^noise=-0\.1: expected a finite"),
        (lambda: repeated(numbered(), 2, float("nan")), r"^noise=nan: expected a finite"),
        (lambda: repeated(numbered()._replace(inputs={"a": np.ones(60), "b": np.ones(60)})), r"^inputs has 2 arrays"),
        (lambda: imbalanced(numbered(), 1.5, [0]), r"^share=1\.5: expected 0\.\.1"),
        (lambda: imbalanced(numbered(), -0.5, [0]), r"^share=-0\.5: expected 0\.\.1"),
        (lambda: imbalanced(numbered(), 0.5, [0, 3]), r"^classes=\[0, 3\]: class 3 has no row in the pool"),
        (lambda: noisy_labels(numbered(), 1.1), r"^rate=1\.1: expected 0\.\.1"),
        (lambda: noisy_labels(numbered(), float("nan")), r"^rate=nan: expected 0\.\.1"),
        (lambda: noisy_labels(numbered(num_classes=1), 0.5), r"^num_classes=1: expected at least 2"),
    ],
)
def test_impossible_variants_are_named(call: Callable[[], Dataset], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
