"""The costs of a campaign are those one counts by hand."""

import dataclasses
import itertools
from typing import Any

import pytest

from al_jax.campaign import Settings
from experiments.config import AcquisitionConfig, Config, DataConfig, PosteriorConfig, TrainingConfig
from experiments.dry_run import Costs, costs, print_costs, steps_of

POOL, TEST, PIXELS, CLASSES = 1297, 500, 64, 10


def config(**parts: Any) -> Config:
    """Two seeds from 20 to 55 labels in batches of 10: metrics at 20, 30, 40, 50 and 55 labels."""
    settings = Settings(seeds=2, batch_size=10, max_labels=55, num_samples=4, chunk_size=100)
    return dataclasses.replace(Config(campaign=settings, training=TrainingConfig(steps=100)), **parts)


def weights_of(hidden: tuple[int, ...]) -> tuple[int, int]:
    """Entries of the matrices, and of the biases, of a multi-layer perceptron."""
    widths = (PIXELS, *hidden, CLASSES)
    return sum(a * b for a, b in itertools.pairwise(widths)), sum(widths[1:])


@pytest.fixture(scope="module")
def default() -> Costs:
    return costs(config())


def test_rounds_and_rows(default: Costs) -> None:
    assert default.rounds == 5
    assert default.rows_scored == 2 * 5 * POOL


def test_a_round_of_the_last_labels_alone_is_counted_once() -> None:
    short = costs(config(campaign=Settings(seeds=3, max_labels=20, num_samples=2)))
    assert (short.rounds, short.rows_scored) == (1, 3 * POOL)


@pytest.mark.parametrize(
    ("acquisition", "pool_subset", "rows"),
    [
        (AcquisitionConfig(acquisition="random"), None, 0),
        (AcquisitionConfig(), 300, 2 * 5 * 300),
        (AcquisitionConfig(prefilter=50), None, 2 * 5 * (POOL + 50)),
        (AcquisitionConfig(prefilter=50), 300, 2 * 5 * (300 + 50)),
    ],
)
def test_rows_that_are_not_offered_are_not_scored(
    acquisition: AcquisitionConfig, pool_subset: int | None, rows: int
) -> None:
    chosen = config(acquisition=acquisition)
    chosen = dataclasses.replace(chosen, campaign=dataclasses.replace(chosen.campaign, pool_subset=pool_subset))
    assert costs(chosen).rows_scored == rows


def test_a_pool_that_is_repeated_is_scored_repeatedly() -> None:
    assert costs(config(data=DataConfig(repeated=2))).rows_scored == 2 * 5 * 2 * POOL


@pytest.mark.parametrize(
    ("posterior", "copies"), [("point", 1), ("mc_dropout", 1), ("ensemble", 3), ("debal", 3), ("variational", 2)]
)
def test_parameters(posterior: str, copies: int) -> None:
    """An ensemble has them for every member; a Gaussian has a mean and a standard deviation."""
    matrices, biases = weights_of((8, 6))
    found = costs(config(posterior=PosteriorConfig(posterior=posterior, hidden=(8, 6), members=3)))
    assert found.parameters == copies * (matrices + biases)


@pytest.mark.parametrize("hidden", [(128, 128), (32,), (512, 512)])
def test_training_is_three_passes_of_two_operations_a_weight(hidden: tuple[int, ...]) -> None:
    """Forward, backward to the inputs and backward to the weights; the first layer needs no backward to its inputs."""
    found = costs(config(posterior=PosteriorConfig(hidden=hidden)))
    by_hand = 3 * 2 * weights_of(hidden)[0] * 32 * (100 * 5 * 2)
    assert by_hand / 2 <= found.training_flops <= by_hand * 2


def test_prediction_is_one_pass_a_sample_from_the_first_dropout_on(default: Costs) -> None:
    first, later = PIXELS * 128, 128 * 128 + 128 * CLASSES
    rows = 2 * 5 * (POOL + TEST)
    by_hand = 2 * rows * (first + (4 + 1) * later)  # 4 samples, and the deterministic network
    assert by_hand / 2 <= default.prediction_flops <= by_hand * 2


def test_training_grows_with_steps_and_seeds(default: Costs) -> None:
    double = costs(config(training=TrainingConfig(steps=200)))
    assert double.training_flops == pytest.approx(2 * default.training_flops, rel=0.3)
    settings = dataclasses.replace(config().campaign, seeds=4)
    assert costs(config(campaign=settings)).training_flops == 2 * default.training_flops


def test_memory_holds_the_data_and_the_states(default: Costs) -> None:
    matrices, biases = weights_of((128, 128))
    assert (POOL + TEST) * PIXELS + 2 * 4 * (matrices + biases) < default.memory_bytes < 2**28


@pytest.mark.parametrize(
    ("training", "count", "steps"),
    [
        (TrainingConfig(steps=300), 20, 300),
        (TrainingConfig(steps=300), 500, 300),
        (TrainingConfig(epochs=4, minibatch_size=32), 20, 4),
        (TrainingConfig(epochs=4, minibatch_size=32), 64, 8),
        (TrainingConfig(epochs=4, minibatch_size=32), 65, 12),
    ],
)
def test_steps(training: TrainingConfig, count: int, steps: int) -> None:
    assert steps_of(training, count) == steps


def test_the_costs_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(config(posterior=PosteriorConfig(hidden=(8,))))
    shown = capsys.readouterr().out
    for part in ("mc_dropout + bald on digits", "12,970", f"{sum(weights_of((8,)))}", "FLOPs", "MiB", "hours"):
        assert part in shown


def test_what_cannot_run_has_no_costs() -> None:
    with pytest.raises(ValueError, match="acquisition='bold' is unknown"):
        costs(config(acquisition=AcquisitionConfig(acquisition="bold")))
