"""Runs an experiment in a process of its own, to its end or until it is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def start(environment: dict[str, str], experiment: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"experiments.{experiment}", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def kill_when(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """SIGKILL, as soon as it `happened`."""
    signal_when(process, happened, signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL


def signal_when(process: subprocess.Popen[str], happened: Callable[[], bool], number: signal.Signals) -> None:
    """A signal, as soon as it `happened`."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline and not happened():
        time.sleep(0.005)
    process.send_signal(number)


def only_run(results: Path) -> Path:
    """The one folder of results/<experiment>/<run>."""
    (directory,) = results.glob("*/*")
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below, to the byte, but for the pictures."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.suffix != ".png")
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
