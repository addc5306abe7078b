"""One prepared run for whatever accelerator JAX finds: first whether it computes the right thing, then how fast.

python -m benchmarks.accelerator --minutes 8
python -m benchmarks.accelerator --minutes 8 --data folder_with_mnist_npz

Every step writes the whole JSON again when it ends, so that a killed run keeps what it had; a step that fails leaves
its error there, and the next one goes on; a step that begins after the time is over is "not run". `--small` is the same
in a minute on two CPU cores. Nothing is downloaded, and nothing is needed but the package's own requirements (without
tyro and tensorflow-datasets).
"""

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLAG = "--xla_gpu_deterministic_ops=true"
"""Without it a GPU adds in another order every time, and a resumed run would differ."""


def main() -> None:
    """Run all steps in turn, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="no step begins later than this")
    parser.add_argument("--small", action="store_true", help="small sizes, to test the script")
    parser.add_argument("--data", type=Path, help="folder with mnist.npz: train_images, train_labels, test_...")
    parser.add_argument("--out", type=Path, help="the JSON; default benchmarks/results/accelerator_<device>.json")
    parser.add_argument("--only", help="only steps whose names contain this")
    parser.add_argument("--write-reference", action="store_true", help="keep the picks of this machine's CPU")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"minutes={options.minutes}: expected a positive number")
    began = time.monotonic()
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
    from benchmarks.accelerator import checks, shown, timings

    if options.write_reference:
        checks.write_reference()
        return
    found: dict[str, Any] = {"environment": shown.environment(), "steps": {}}
    device = found["environment"]["device_kind"].replace(" ", "_")
    out = options.out or Path("benchmarks/results") / f"accelerator_{device}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[..., dict[str, Any]]] = {**checks.STEPS, **timings.STEPS}
    for name, step in steps.items():
        if options.only and options.only not in name:
            continue
        left = 60 * options.minutes - (time.monotonic() - began)
        start = time.monotonic()
        if left <= 0:
            result: dict[str, Any] = {"not run": "no time was left"}
        else:
            try:
                result = step(small=options.small, seconds=left, data=options.data)
            except Exception as error:  # whatever a device's compiler or memory raises: it is the finding
                said = f"{type(error).__name__}: {str(error)[:500]}"
                result = {"error": said, "where": traceback.format_exc()[-900:]}
        found["steps"][name] = result | {"step_seconds": round(time.monotonic() - start, 2)}
        out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{time.monotonic() - began:6.1f} s  {name}: {json.dumps(result)[:300]}", flush=True)
    shown.table(found)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
