"""The costs of a campaign are those one counts by hand."""

import itertools
from typing import Any

import pytest

from al_jax.campaign import Settings
from al_jax.vocabulary import expression
from experiments.dry_run import Costs, costs, print_costs, steps_of
from experiments.experiment import Experiment, changed

POOL, TEST, PIXELS, CLASSES = 1297, 500, 64, 10


def config(**fields: Any) -> Experiment:
    """Two seeds from 20 to 55 labels in batches of 10: metrics at 20, 30, 40, 50 and 55 labels."""
    settings = Settings(seeds=2, batch_size=10, max_labels=55, num_samples=4, chunk_size=100)
    return changed(Experiment(training="adam, steps=100", settings=settings), **fields)


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
    short = costs(config(settings=Settings(seeds=3, max_labels=20, num_samples=2)))
    assert (short.rounds, short.rows_scored) == (1, 3 * POOL)


@pytest.mark.parametrize(
    ("acquisition", "pool_subset", "rows"),
    [
        ("random", None, 0),
        ("bald", 300, 2 * 5 * 300),
        ("prefilter(entropy, 50, bald)", None, 2 * 5 * (POOL + 50)),
        ("prefilter(entropy, 50, bald)", 300, 2 * 5 * (300 + 50)),
    ],
)
def test_rows_that_are_not_offered_are_not_scored(acquisition: str, pool_subset: int | None, rows: int) -> None:
    assert costs(config(acquisition=acquisition, pool_subset=pool_subset)).rows_scored == rows


def test_a_pool_that_is_repeated_is_scored_repeatedly() -> None:
    assert costs(config(data="repeated(digits, 2)")).rows_scored == 2 * 5 * 2 * POOL


@pytest.mark.parametrize(
    ("posterior", "copies"),
    [
        ("point", 1),
        ("mc_dropout", 1),
        ("ensemble(point, 3)", 3),
        ("ensemble(mc_dropout, 3)", 3),
        ("variational", 2),
    ],
)
def test_parameters(posterior: str, copies: int) -> None:
    """An ensemble has them for every member; a Gaussian has a mean and a standard deviation."""
    matrices, biases = weights_of((8, 6))
    found = costs(config(posterior=posterior, network="mlp(hidden=(8, 6))"))
    assert found.parameters == copies * (matrices + biases)


@pytest.mark.parametrize("hidden", [(128, 128), (32,), (512, 512)])
def test_training_is_three_passes_of_two_operations_a_weight(hidden: tuple[int, ...]) -> None:
    """Forward, backward to the inputs and backward to the weights; the first layer needs no backward to its inputs."""
    found = costs(config(network=f"mlp(hidden={hidden})"))
    by_hand = 3 * 2 * weights_of(hidden)[0] * 32 * (100 * 5 * 2)
    assert by_hand / 2 <= found.training_flops <= by_hand * 2


def test_prediction_is_one_pass_a_sample_from_the_first_dropout_on(default: Costs) -> None:
    first, later = PIXELS * 128, 128 * 128 + 128 * CLASSES
    rows = 2 * 5 * (POOL + TEST)
    by_hand = 2 * rows * (first + (4 + 1) * later)  # 4 samples, and the deterministic network
    assert by_hand / 2 <= default.prediction_flops <= by_hand * 2


def test_training_grows_with_steps_and_seeds(default: Costs) -> None:
    double = costs(config(training="adam, steps=200"))
    assert double.training_flops == pytest.approx(2 * default.training_flops, rel=0.3)
    assert costs(config(seeds=4)).training_flops == 2 * default.training_flops


def test_memory_holds_the_data_and_the_states(default: Costs) -> None:
    matrices, biases = weights_of((128, 128))
    assert (POOL + TEST) * PIXELS + 2 * 4 * (matrices + biases) < default.memory_bytes < 2**28


@pytest.mark.parametrize(
    ("training", "count", "steps"),
    [
        ("adam, steps=300", 20, 300),
        ("adam, steps=300", 500, 300),
        ("adam, epochs=4", 20, 4),
        ("adam, epochs=4", 64, 8),
        ("adam, epochs=4", 65, 12),
    ],
)
def test_steps(training: str, count: int, steps: int) -> None:
    assert steps_of(expression("training", training).make({}), count) == steps


def test_the_costs_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(config(network="mlp(hidden=(8,))"))
    shown = capsys.readouterr().out
    for part in ("mc_dropout + bald on digits", "12,970", f"{sum(weights_of((8,)))}", "FLOPs", "MiB", "hours"):
        assert part in shown


def test_what_cannot_run_has_no_costs() -> None:
    with pytest.raises(ValueError, match="'bold' is unknown"):
        costs(config(acquisition="bold"))
