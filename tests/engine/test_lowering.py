"""Programs for groups of seeds: what they compute, which are found again, and the memory they need."""

import contextlib
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from conftest import tiny

from al_jax import campaign
from al_jax.acquisitions import random
from al_jax.data import Dataset
from al_jax.engine import lowering, parallel

ONE = jax.local_devices()[:1]


def seeds(count: int) -> dict[str, np.ndarray]:
    """A tree whose leaves carry the number of their seed."""
    numbers = np.arange(count, dtype=np.int32)
    return {"scalar": numbers, "matrix": np.broadcast_to(numbers[:, None, None], (count, 3, 2)).astype(np.float32)}


@pytest.mark.parametrize(("count", "width"), [(1, 4), (5, 2), (7, 3), (4, 4)])
def test_a_compiled_function_maps_over_seeds_and_broadcasts_the_rest(count: int, width: int) -> None:
    layout = parallel.layout(count, width, ONE)
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    shared, groups = parallel.replicate(table, layout), parallel.split(seeds(count), layout)

    def function(seed: dict[str, jax.Array], table: jax.Array) -> dict[str, jax.Array]:
        return {"row": table[seed["scalar"] % 4] + seed["matrix"][0, 0], "seed": seed["scalar"]}

    compiled = lowering.compile_over_seeds(function, layout, (True, False), groups[0], shared)
    found = parallel.join([compiled(group, shared) for group in groups], layout)
    numbers = np.arange(count)
    assert np.array_equal(found["row"], table[numbers % 4] + numbers[:, None])
    assert np.array_equal(found["seed"], numbers)


def test_a_compiled_function_refuses_other_shapes_instead_of_compiling_again() -> None:
    layout = parallel.layout(4, 2, ONE)
    groups = parallel.split(np.zeros((4, 3)), layout)
    compiled = lowering.compile_over_seeds(jnp.sin, layout, (True,), groups[0])
    with pytest.raises((TypeError, ValueError)):
        compiled(parallel.split(np.zeros((4, 5)), layout)[0])


def test_a_program_is_found_again_for_equal_shapes_and_one_that_is_not_kept_is_not() -> None:
    layout = parallel.layout(4, 2, ONE)
    (group, *_), (longer, *_) = (parallel.split(np.zeros((4, n)), layout) for n in (3, 5))

    def function(x: jax.Array) -> jax.Array:
        return x + 1

    def compiled(x: jax.Array, **options: bool) -> object:
        return lowering.compile_lowered([lowering.lower_over_seeds(function, layout, (True,), x, **options)])[0]

    first = compiled(group)
    assert compiled(group) is first
    assert compiled(longer) is not first
    before = dict(lowering._programs)
    assert compiled(group, kept=False) is not first
    assert lowering.compile_over_seeds(function, layout, (True,), group) is not first
    assert lowering._programs == before
    for _ in range(lowering.KEPT):
        lowering.compile_lowered([lowering.lower_over_seeds(lambda x: x, layout, (True,), group)])
    assert len(lowering._programs) == lowering.KEPT
    assert compiled(group) is not first, "the programs used last are kept"


# memory


class Executable(NamedTuple):
    """What `check_memory` asks of a compiled program."""

    argument_size_in_bytes: int
    output_size_in_bytes: int
    temp_size_in_bytes: int

    def memory_analysis(self) -> "Executable":
        return self


def test_memory_is_that_of_the_hungriest_program_and_of_the_states_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = parallel.layout(6, 2, ONE)
    state = parallel.shapes(np.zeros((1, 2, 5), np.float32), layout, of_seeds=True)
    needed = 100 + 20 + 3 + 2 * 40
    for there, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(lowering, "device_memory", lambda _, there=there: there)
        message = r"a round needs 0\.0 MiB on each device .* --chunk-size, .* --seed-block \(now 2\) or --pool-on host"
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match=message):
            lowering.check_memory([Executable(1, 2, 3), Executable(100, 20, 3)], state, layout)


def test_a_campaign_that_does_not_fit_is_refused_before_any_round(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lowering, "device_memory", lambda _: 1000)
    settings = campaign.Settings(seeds=1, initial_labels=3, batch_size=3, max_labels=6, num_samples=2)
    with pytest.raises(ValueError, match=r"a round needs 0\.\d MiB on each device and there are 0\.0 MiB"):
        campaign.run(
            tiny("point"), random(), dataset, settings, oracle=lambda _: pytest.fail("a round was run"), devices=ONE
        )


def test_the_memory_of_a_device_is_its_limit_or_its_share_of_what_is_free() -> None:
    limited = [SimpleNamespace(process_index=0, memory_stats=lambda b=b: {"bytes_limit": b}) for b in (700, 500)]
    assert lowering.device_memory(parallel.Layout(2, 1, tuple(limited))) == 500
    free = lowering.device_memory(parallel.layout(1, 1, ONE))
    assert 2**20 < free < psutil.virtual_memory().total
    halves = parallel.Layout(2, 1, (*ONE, *ONE))
    assert 2**20 < lowering.device_memory(halves) < 0.75 * free
