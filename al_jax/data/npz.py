"""Arrays from a file that people give, or one clear sentence."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def read_npz(
    argument: str, given: str | None, expected: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz file whose names are `wanted`, and the names of all; nothing in it is executed.

    ValueError, with the `argument`, what was `given` and what was `expected`, when there is no such file or it cannot
    be read.
    """
    path = Path(given or "").expanduser()
    if not path.is_file():
        raise ValueError(f"{argument}={given} is not a file; expected {expected}")
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file if wanted(name)}, sorted(file)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:  # TypeError: a plain .npy
        raise ValueError(f"{argument}={given} cannot be read ({error}): expected {expected}") from error
