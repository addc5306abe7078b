"""The prepared run for accelerators, on this CPU: it keeps every step it finished, and says what went wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accelerator import checks, shown, timings

ROOT = Path(__file__).resolve().parent.parent.parent
CHEAP = ("precision", "matrix product", "core_set", "pool", "devices")


def run(tmp_path: Path, environment: dict[str, str], *options: str) -> tuple[subprocess.CompletedProcess, dict]:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.accelerator", "--small", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    return done, json.loads(out.read_text()) if out.exists() else {}


def test_a_step_is_written_and_shown(tmp_path, environment):
    done, found = run(tmp_path, environment, "--minutes", "5", "--only", "picks")
    assert done.returncode == 0, done.stderr
    assert found["environment"]["platform"] == "cpu"
    assert "core_set" in done.stdout
    for name, of in json.loads(checks.REFERENCE.read_text()).items():
        count = len(of["rows"])
        assert found["steps"]["picks"][name].startswith(f"{count} of {count} picks"), found["steps"]["picks"]


def test_what_begins_after_the_time_is_not_run(tmp_path, environment):
    done, found = run(tmp_path, environment, "--minutes", "1e-9")
    assert done.returncode == 0, done.stderr
    assert found["steps"].keys() == checks.STEPS.keys() | timings.STEPS.keys()
    assert all(step["not run"] == "no time was left" for step in found["steps"].values())


@pytest.mark.parametrize("name", CHEAP)
def test_a_step_measures_something(name):
    step = (checks.STEPS | timings.STEPS)[name]
    found = step(small=True, seconds=60.0, data=None)
    numbers = [value for value in found.values() if isinstance(value, float)]
    assert all(np.isfinite(numbers))
    assert found


def test_a_step_that_fails_leaves_its_error_and_the_others_go_on(tmp_path, environment):
    missing = tmp_path / "nothing here"
    _, found = run(tmp_path, environment, "--minutes", "5", "--only", "kirsch", "--data", str(missing))
    assert found["steps"]["kirsch"]["error"].startswith("FileNotFoundError")


def test_the_peaks_of_an_unknown_card_are_not_made_up():
    assert shown.peak("float32") is None
