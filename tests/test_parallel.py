"""Seeds in blocks over devices: padding is dropped, nothing compiles twice, the number of devices changes no bit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import parallel

ROOT = Path(__file__).resolve().parent.parent
ONE = jax.local_devices()[:1]


def seeds(count: int) -> dict[str, np.ndarray]:
    """A tree whose leaves carry the number of their seed."""
    numbers = np.arange(count, dtype=np.int32)
    matrix = np.broadcast_to(numbers[:, None, None], (count, 3, 2)).astype(np.float32)
    return {"scalar": numbers, "matrix": matrix, "mask": numbers % 2 == 0}


def equal(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.mark.parametrize(
    ("count", "width", "groups", "used"),
    [(1, 4, 1, 1), (4, 4, 1, 4), (5, 4, 2, 4), (7, 3, 3, 3), (8, 1, 8, 1), (9, 2, 5, 2)],
)
def test_seeds_lie_in_whole_blocks_of_one_width(count: int, width: int, groups: int, used: int) -> None:
    layout = parallel.layout(count, width, ONE)
    assert (layout.num_groups, layout.width) == (groups, used)
    parts = parallel.split(seeds(count), layout)
    assert [part["matrix"].shape for part in parts] == [(1, used, 3, 2)] * groups


@pytest.mark.parametrize("width", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 8])
def test_join_undoes_split_and_drops_the_padding(count: int, width: int) -> None:
    layout = parallel.layout(count, width, ONE)
    assert equal(parallel.join(parallel.split(seeds(count), layout), layout), seeds(count))


def test_no_more_devices_are_used_than_there_are_blocks() -> None:
    devices = [f"device {i}" for i in range(8)]
    cases = [(count, width) for count in (1, 5, 8) for width in (1, 2, 4)]
    used = {case: len(parallel.layout(*case, devices).devices) for case in cases}
    assert used == {(1, 1): 1, (1, 2): 1, (1, 4): 1, (5, 1): 5, (5, 2): 3, (5, 4): 2, (8, 1): 8, (8, 2): 4, (8, 4): 2}


def test_the_width_does_not_depend_on_the_number_of_devices() -> None:
    widths = {parallel.layout(5, 2, [f"device {i}" for i in range(n)]).width for n in (1, 2, 3, 8)}
    assert widths == {2}


@pytest.mark.parametrize(("count", "width"), [(1, 4), (5, 2), (7, 3), (4, 4)])
def test_a_compiled_function_maps_over_seeds_and_broadcasts_the_rest(count: int, width: int) -> None:
    layout = parallel.layout(count, width, ONE)
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    shared, groups = parallel.replicate(table, layout), parallel.split(seeds(count), layout)

    def function(seed: dict[str, jax.Array], table: jax.Array) -> dict[str, jax.Array]:
        return {"row": table[seed["scalar"] % 4] + seed["matrix"][0, 0], "seed": seed["scalar"]}

    compiled = parallel.compile_replicas(function, layout, (True, False), groups[0], shared)
    found = parallel.join([compiled(group, shared) for group in groups], layout)
    numbers = np.arange(count)
    assert np.array_equal(found["row"], table[numbers % 4] + numbers[:, None])
    assert np.array_equal(found["seed"], numbers)


def test_a_compiled_function_refuses_other_shapes_instead_of_compiling_again() -> None:
    layout = parallel.layout(4, 2, ONE)
    groups = parallel.split(np.zeros((4, 3)), layout)
    compiled = parallel.compile_replicas(jnp.sin, layout, (True,), groups[0])
    with pytest.raises((TypeError, ValueError)):
        compiled(parallel.split(np.zeros((4, 5)), layout)[0])


def test_the_thread_pool_follows_nproc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "3")
    assert parallel.thread_pool_size() == 3
    monkeypatch.delenv("NPROC")
    assert parallel.thread_pool_size() == max(os.cpu_count() or 1, jax.local_device_count())


CACHE_OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def _cache_restored() -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in CACHE_OPTIONS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("_cache_restored")
def test_the_compilation_cache_goes_where_it_is_told_then_where_jax_was_told_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    jax.config.update("jax_compilation_cache_dir", None)
    parallel.enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache" / "al_jax" / "compiled")
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    parallel.enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jax")
    parallel.enable_compilation_cache(tmp_path / "told")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "told")


# 8 devices, in a process of their own

ON_DEVICES = """
import dataclasses, json, sys
import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))

from al_jax import campaign, parallel
from experiments import config, runner

assert jax.local_device_count() == int(sys.argv[1])
for seeds in (1, 5, 8, 11):
    for width in (1, 2, 3):
        layout = parallel.layout(seeds, width)
        devices = min(jax.local_device_count(), -(-seeds // width))
        numbers = np.arange(seeds)[:, None] + np.zeros(4)
        groups = parallel.split(numbers, layout)
        assert [group.shape for group in groups] == [(devices, min(width, seeds), 4)] * layout.num_groups
        assert all(len(group.sharding.device_set) == devices for group in groups)
        assert np.array_equal(parallel.join(groups, layout), numbers)
shared = parallel.replicate(np.arange(3.0), layout)
double = parallel.compile_replicas(lambda x, y: x.sum() * y, layout, (True, False), groups[0], shared)
found = parallel.join([double(group, shared) for group in groups], layout)
assert np.array_equal(found, numbers.sum(1)[:, None] * np.arange(3.0))

tables = {}
for block in (1, 2):
    settings = campaign.Settings(seeds=8, batch_size=5, max_labels=30, num_samples=3, chunk_size=100, seed_block=block)
    chosen = config.Config(
        posterior=config.PosteriorConfig(hidden=(8,)), training=config.TrainingConfig(steps=5), campaign=settings
    )
    done = campaign.run(*runner.build(chosen), settings)
    tables[block] = [done.acquired.to_csv(index=False), done.rounds.drop(columns="seconds").to_csv(index=False)]
print(json.dumps(tables))
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[str]]]:
    """The tables of one campaign on 1 and on 8 devices, for blocks of 1 and of 2 seeds."""
    # A process takes the size of its thread pool from NPROC, and long sums are split over it.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"NPROC": "8", "JAX_PLATFORMS": "cpu"}
    started = {
        devices: subprocess.Popen(
            [sys.executable, "-c", ON_DEVICES, str(devices)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for devices in (1, 8)
    }
    found = {}
    for devices, process in started.items():
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found[devices] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.parametrize("block", ["1", "2"])
def test_8_devices_acquire_exactly_the_rows_of_1(tables: dict[int, dict[str, list[str]]], block: str) -> None:
    acquired, rounds = tables[1][block]
    assert len(acquired.splitlines()) == 1 + 8 * 10
    assert len(rounds.splitlines()) == 1 + 8 * 3
    assert tables[8][block] == [acquired, rounds]
