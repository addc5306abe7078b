"""Prototype an acquisition function in five lines, and know within a minute whether it works.

`check` runs the laws, `compare` runs campaigns beside random, entropy, BALD and BatchBALD, `replay` judges a score on
stored campaigns without training, `inspect` shows what was picked, `surface` where in the plane a score looks. `label`
and `labelling` let a person be the oracle.
"""

from al_jax.lab.check import CheckError, check
from al_jax.lab.compare import compare
from al_jax.lab.comparison import Comparison
from al_jax.lab.comparisons import Comparisons
from al_jax.lab.inspect import Inspection, inspect
from al_jax.lab.label import label
from al_jax.lab.labelling import Labelling, labelling
from al_jax.lab.replay import Replay, replay
from al_jax.lab.surface import Surface, surface
from al_jax.lab.tasks import TASKS, Task, cnn, lenet, mlp, task

__all__ = [
    "TASKS",
    "CheckError",
    "Comparison",
    "Comparisons",
    "Inspection",
    "Labelling",
    "Replay",
    "Surface",
    "Task",
    "check",
    "cnn",
    "compare",
    "inspect",
    "label",
    "labelling",
    "lenet",
    "mlp",
    "replay",
    "surface",
    "task",
]
