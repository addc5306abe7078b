"""One run by several processes: it acquires what one process acquires, and when one is killed, resumes to the same."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import command_line
import jax
import pandas as pd
import pytest
from command_line import finish, only_run

from al_jax.engine import processes
from experiments import runner
from experiments.runner import RunOptions

SMALL = ["--network", "mlp(hidden=(8,))", "--training", "adam, steps=5", "--num-samples", "3", "--seeds", "3"]
SMALL += ["--seed-block", "1", "--batch-size", "20", "--max-labels", "420", "--devices", "1"]
ENDED = 30
"""Seconds within which the others must notice that a process is gone."""


@pytest.fixture(scope="module")
def environment_of_all(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"JAX_PLATFORMS": "cpu", "NPROC": "4"}


def start(environment: dict[str, str], results: Path, *options: str) -> subprocess.Popen[str]:
    return command_line.start(environment, "run", *SMALL, "--results-dir", str(results), *options)


def start_two(environment: dict[str, str], results: Path, *options: str) -> list[subprocess.Popen[str]]:
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    together = ["--coordinator", f"localhost:{port}", "--num-processes", "2"]
    return [start(environment, results, *together, "--process-id", str(process), *options) for process in range(2)]


def files(directory: Path) -> dict[str, str]:
    """What a run leaves and does not measure, by name."""
    rounds = pd.read_csv(directory / "rounds.csv", dtype=str).drop(columns="seconds").to_csv(index=False)
    return {"rounds": rounds} | {name: (directory / name).read_text() for name in ("acquired.csv", "config.json")}


@pytest.fixture(scope="module")
def by_one(environment_of_all: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    results = tmp_path_factory.mktemp("one")
    code, _, err = finish(start(environment_of_all, results))
    assert code == 0, err
    return only_run(results)


def test_two_processes_acquire_what_one_acquires_and_only_the_first_prints(
    environment_of_all: dict[str, str], by_one: Path, tmp_path: Path
) -> None:
    (code, out, err), (other_code, other_out, other_err) = map(finish, start_two(environment_of_all, tmp_path))
    assert (code, other_code) == (0, 0), err + other_err
    directory = only_run(tmp_path)
    assert files(directory) == files(by_one)
    assert {path.name for path in directory.iterdir()} == {path.name for path in by_one.iterdir()}
    assert [entry["processes"] for entry in json.loads((directory / "environment.json").read_text())] == [2]
    assert "results: " in out
    assert "results" not in other_out


def test_processes_that_share_the_pool_acquire_what_one_acquires(
    environment_of_all: dict[str, str], by_one: Path, tmp_path: Path
) -> None:
    shorter = ("--mode", "pool", "--max-labels", "60")
    ended = [finish(process) for process in start_two(environment_of_all, tmp_path, *shorter)]
    assert [code for code, _, _ in ended] == [0, 0], ended
    acquired, of_one = (pd.read_csv(run / "acquired.csv", dtype=str) for run in (only_run(tmp_path), by_one))
    assert len(acquired) == 3 * (20 + 40)
    assert acquired.equals(of_one[of_one["round"].isin(("-1", "0", "1"))].reset_index(drop=True))


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_is_killed_the_other_says_so_and_the_run_resumes_to_the_same_rows(
    environment_of_all: dict[str, str], by_one: Path, tmp_path: Path, victim: int
) -> None:
    processes = start_two(environment_of_all, tmp_path)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("run/*/checkpoints/3")):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), [finish(process) for process in processes]
        time.sleep(0.005)
    processes[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    code, _, err = finish(processes[1 - victim])
    assert time.monotonic() - began < ENDED
    assert finish(processes[victim])[0] == -signal.SIGKILL
    assert code != 0
    assert err.splitlines()[-1] == runner.LOST.strip()
    assert "Traceback" not in err
    assert not (only_run(tmp_path) / "summary.json").exists()

    if victim == 0:
        resumed = start_two(environment_of_all, tmp_path, "--resume")
    else:
        resumed = [start(environment_of_all, tmp_path, "--resume", "--devices", "3")]
    ended = [finish(process) for process in resumed]
    assert {code for code, _, _ in ended} == {0}, ended
    assert files(only_run(tmp_path)) == files(by_one)


def test_an_error_of_all_processes_is_one_line_of_each_and_not_a_loss(
    environment_of_all: dict[str, str], tmp_path: Path
) -> None:
    assert [finish(p)[::2] for p in start_two(environment_of_all, tmp_path, "--training", "adam, steps=0")] == [
        (2, "error: training='adam, steps=0': at column 1 training: steps=0: expected at least 1\n")
    ] * 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RunOptions(coordinator="host:1"), "num_processes=None: expected coordinator, num_processes and process_id"),
        (RunOptions(num_processes=2, process_id=0), "coordinator=None: expected coordinator, num_processes and"),
        (RunOptions(coordinator="h:1", num_processes=2, process_id=2), "process_id=2: expected 0 to 1"),
        (RunOptions(coordinator="host", num_processes=2, process_id=1), "coordinator=host: expected HOST:PORT"),
        (RunOptions(distributed=True, process_id=1), "distributed=True: expected without process_id"),
        (RunOptions(devices=0), "devices=0: expected at least 1"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_started(
    options: RunOptions, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "connect", lambda *_: pytest.fail("connected"))
    with pytest.raises(ValueError, match=message):
        runner.start(options)


def test_more_devices_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Elsewhere than on a CPU, and where XLA_FLAGS has the last word, the option only chooses.
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    there = len(jax.local_devices())
    runner.start(RunOptions(devices=there))
    with pytest.raises(ValueError, match=rf"devices={there + 1}: expected 1 to {there}, the cpu devices of a process"):
        runner.start(RunOptions(devices=there + 1))


def test_only_failed_collectives_of_several_processes_count_as_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
    assert not processes.is_loss(gone)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    assert processes.is_loss(gone)
    assert processes.is_loss(RuntimeError("UNAVAILABLE: Socket closed"))
    assert not processes.is_loss(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"))
    assert not processes.is_loss(ValueError("steps=0: expected at least 1"))
