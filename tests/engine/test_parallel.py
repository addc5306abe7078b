"""Seeds in blocks over devices: padding is dropped, nothing compiles twice, the number of devices changes no bit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import campaign
from al_jax.data import Dataset
from al_jax.engine import parallel
from al_jax.mesh import chunking, unplaced

ROOT = Path(__file__).resolve().parent.parent.parent
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


@pytest.mark.parametrize(("count", "width", "devices"), [(1, 4, 1), (5, 2, 1), (7, 1, 2), (8, 3, 2), (11, 2, 3)])
@pytest.mark.parametrize("processes", [2, 3])
def test_what_processes_hold_of_their_own_seeds_merges_to_all_seeds(
    count: int, width: int, devices: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "put", lambda tree, *_: tree)  # fake devices hold NumPy arrays
    layouts = [parallel.layout(count, width, ["device"] * devices, processes, process) for process in range(processes)]
    used = len(layouts[0].devices)
    assert used <= devices
    assert (layouts[0].num_groups - 1) * processes * used * min(width, count) < count
    held = [parallel.split(seeds(count), layout) for layout in layouts]
    shapes = {group["matrix"].shape for groups in held for group in groups}
    assert shapes == {(used, min(width, count), 3, 2)}
    parts = [jax.tree.map(lambda *leaves: np.stack(leaves), *groups) for groups in held]
    assert equal(parallel.merge(parts, layouts[0]), seeds(count))


def fake_devices(*of_processes: int) -> list[Any]:
    return [
        SimpleNamespace(process_index=process, platform="cpu", name=f"{process}/{i}")
        for process, count in enumerate(of_processes)
        for i in range(count)
    ]


def test_the_first_devices_of_every_process_are_taken_process_after_process() -> None:
    mixed = sorted(fake_devices(3, 3), key=lambda device: device.name[::-1])
    assert [device.name for device in parallel.devices(2, mixed)] == ["0/0", "0/1", "1/0", "1/1"]
    assert len(parallel.devices(None, mixed)) == 6
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"devices={count}: expected 1 to 3, the cpu devices of a process"):
            parallel.devices(count, mixed)
    with pytest.raises(ValueError, match=r"local devices=\[3, 2\]: expected equally many in every process"):
        parallel.devices(None, fake_devices(3, 2))


@pytest.mark.parametrize(("rows", "size", "devices"), [(10, 4, 1), (10, 4, 3), (3, 8, 2), (16, 4, 4)])
def test_a_sharded_pool_is_whole_chunks_on_every_device(rows: int, size: int, devices: int) -> None:
    chunk, chunks = chunking(rows, size, devices)
    assert chunk == min(size, rows)
    assert chunks % devices == 0
    assert chunk * chunks >= rows > chunk * (chunks - devices)
    layout = parallel.pool_layout(1, 1, size, ONE)
    table = {"x": np.arange(2 * rows).reshape(rows, 2)}
    placed = parallel.place_rows(table, layout)
    assert np.array_equal(placed["x"][:rows], table["x"])
    assert placed["x"].shape == parallel.row_shapes(table, layout)["x"].shape
    assert equal(unplaced(placed, rows, layout.mesh), jax.tree.map(jnp.asarray, table))


def test_an_unknown_mode_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="mode='rows': expected 'replicas' or 'pool'"):
        campaign.validate(dataset, campaign.Settings(initial_labels=3, max_labels=6, batch_size=3, mode="rows"))


def test_no_more_devices_are_used_than_there_are_blocks() -> None:
    devices = [f"device {i}" for i in range(8)]
    cases = [(count, width) for count in (1, 5, 8) for width in (1, 2, 4)]
    used = {case: len(parallel.layout(*case, devices).devices) for case in cases}
    assert used == {(1, 1): 1, (1, 2): 1, (1, 4): 1, (5, 1): 5, (5, 2): 3, (5, 4): 2, (8, 1): 8, (8, 2): 4, (8, 4): 2}


def test_the_width_does_not_depend_on_the_number_of_devices() -> None:
    widths = {parallel.layout(5, 2, [f"device {i}" for i in range(n)]).width for n in (1, 2, 3, 8)}
    assert widths == {2}


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

from al_jax import campaign
from al_jax.engine import lowering, parallel
from experiments import experiment, runner

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
double = lowering.compile_over_seeds(lambda x, y: x.sum() * y, layout, (True, False), groups[0], shared)
found = parallel.join([double(group, shared) for group in groups], layout)
assert np.array_equal(found, numbers.sum(1)[:, None] * np.arange(3.0))

lowered = {}
lower_here = lowering.lower_over_seeds


def lower_for_all(function, layout, mapped, *args, **kept):
    program = lowering.mapped_over_seeds(function, layout, mapped)
    exported = jax.export.export(program, platforms=("tpu", "cuda"))(*args)
    lowered[f"{layout.mode} {function.__name__}"] = (exported.nr_devices, exported.mlir_module())
    return lower_here(function, layout, mapped, *args, **kept)


tables = {}
whole, part = "bald", "prefilter(entropy, 150, core_set)"
of_replicas = [("replicas", 1, whole, None), ("replicas", 2, whole, None)]
of_pool = [("pool", 2, whole, None), ("pool", 2, part, 777)]
campaigns = {1: [*of_replicas, ("replicas", 2, part, 777)], 2: of_pool, 8: of_replicas + of_pool}
for mode, block, acquisition, subset in campaigns[jax.local_device_count()]:
    name = f"{mode} {block} {'bald' if acquisition is whole else 'core_set'}"
    lowering.lower_over_seeds = lower_for_all if name.endswith("2 bald") else lower_here
    settings = campaign.Settings(
        seeds=7, batch_size=5, max_labels=30, num_samples=3, chunk_size=100, seed_block=block, mode=mode,
        pool_subset=subset,
    )
    chosen = experiment.Experiment(
        network="mlp(hidden=(8,))", training="adam, steps=5", acquisition=acquisition, settings=settings
    )
    built = runner.build(chosen)
    chosen_acquisition = built.acquisition
    if acquisition is part:  # and with a number of every row that depends on the whole pool
        chosen_acquisition = chosen_acquisition._replace(
            init=lambda key, pool: pool.inputs.astype("float32").mean((1, 2, 3)),
            summarise=lambda round, x, rows: (round.functions(x).features * round.memory[rows][:, None],),
        )
    done = campaign.run(built.posterior, chosen_acquisition, built.dataset, settings)
    tables[name] = [done.acquired.to_csv(index=False), done.rounds.drop(columns="seconds").to_csv(index=False)]
lowered = {name: [count, "callback" in text, "all_gather" in text] for name, (count, text) in lowered.items()}
print(json.dumps([tables, lowered]))
"""


Found = dict[int, tuple[dict[str, list[str]], dict[str, list[Any]]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """On 1, 2 and 8 devices: the tables of campaigns, and what their programs are when lowered for TPU and CUDA."""
    # A process takes the size of its thread pool from NPROC, and long sums are split over it.
    environment = os.environ | {"NPROC": "8", "JAX_PLATFORMS": "cpu"}
    started = {
        devices: subprocess.Popen(
            [sys.executable, "-c", ON_DEVICES, str(devices)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for devices in (1, 2, 8)
    }
    found = {}
    for devices, process in started.items():
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        found[devices] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices_acquires_exactly_the_rows_of_1_in_both_modes(found: Found, devices: int) -> None:
    of_one, tables = found[1][0], found[devices][0]
    assert set(of_one) == {"replicas 1 bald", "replicas 2 bald", "replicas 2 core_set"}
    for acquired, rounds in of_one.values():
        assert len(acquired.splitlines()) == 1 + 7 * (20 + 10)
        assert len(rounds.splitlines()) == 1 + 7 * 3
    assert {"pool 2 bald", "pool 2 core_set"} <= set(tables)
    for name, table in tables.items():
        assert table == of_one[name.replace("pool", "replicas")], name


@pytest.mark.parametrize(
    ("mode", "devices", "used"), [("replicas", 1, 1), ("replicas", 8, 4), ("pool", 2, 2), ("pool", 8, 8)]
)
def test_programs_of_both_modes_are_lowered_for_tpu_and_cuda_without_calling_the_host(
    found: Found, mode: str, devices: int, used: int
) -> None:
    lowered = {name.split()[1]: program for name, program in found[devices][1].items() if name.startswith(mode)}
    assert set(lowered) == {"start", "remember", "learn", "choose", "absorb"}
    del lowered["remember"]  # BALD has nothing to remember
    assert {(count, callback) for count, callback, _ in lowered.values()} == {(used, False)}  # 7 seeds are 4 blocks
    meeting = {name for name, (_, _, gathers) in lowered.items() if gathers}
    # in a round, after predicting parts of the test set and of the pool
    assert meeting == ({"learn", "choose"} if mode == "pool" else set())
