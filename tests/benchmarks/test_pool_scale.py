"""The benchmark of large pools runs, on the device and on the host."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_small_pool_is_timed_in_both_places(tmp_path: Path) -> None:
    command = ["--sizes", "500", "--pools", "device", "host", "--repeats", "1", "--hidden", "4", "--output"]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.pool_scale", *command, str(tmp_path / "out.json")],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
    )
    rows = json.loads((tmp_path / "out.json").read_text())["table"]
    assert len(rows) == 2
    assert all(row["seconds"] > 0 for row in rows)
