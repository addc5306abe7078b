"""What methods are compared on: a pool, a posterior and a budget."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from al_jax import data
from al_jax.campaign.records import Settings
from al_jax.data import Dataset
from al_jax.errors import unknown
from al_jax.likelihood import categorical
from al_jax.models import MLP, BatchBALDCNN, LeNet
from al_jax.posteriors import mc_dropout
from al_jax.training import Training, adam
from al_jax.types import Posterior


class Task(NamedTuple):
    """A data set, a posterior and the settings of its campaigns; `lab.compare(..., task=Task(...))` takes your own.

    name: of the folder in which its baselines are stored; another data set or posterior of the same name gets another.
    dataset, posterior: functions, so that nothing is loaded before it is needed; the posterior is made for the data,
        and of the numbers of a sweep by name. Those of `lab.TASKS` take `learning_rate` and `dropout`.
    settings: `seeds` is replaced by that of the comparison.
    keep_states: whether the fitted posteriors of every round are kept, for `replay` and `inspect`: seeds x rounds
        copies of the parameters for each method.
    """

    name: str
    dataset: Callable[[], Dataset]
    posterior: Callable[..., Posterior]
    settings: Settings = Settings()
    keep_states: bool = True


def dropout(
    network: Callable[..., nn.Module], dataset: Dataset, steps: int = 300, learning_rate: float = 1e-3, **options: Any
) -> Posterior:
    """MC dropout on `network(num_classes, mean, std)`, normalised by the pool, `steps` of Adam on 32 rows."""
    inputs = np.asarray(dataset.inputs)
    module = network(
        num_classes=dataset.num_classes, mean=float(inputs.mean()), std=float(inputs.std()) or 1.0, **options
    )
    return mc_dropout(module, categorical(), Training(adam(learning_rate), steps=steps))


mlp = partial(dropout, MLP)
cnn = partial(dropout, BatchBALDCNN)
lenet = partial(dropout, LeNet)


def _repeated() -> Dataset:
    return data.repeated(data.load("digits"), copies=3, noise=1.6)  # a tenth of the pixels' range


def _imbalanced() -> Dataset:
    return data.imbalanced(data.load("digits"), share=0.1, classes=range(5))


def _noisy_labels() -> Dataset:
    return data.noisy_labels(data.load("digits"), rate=0.2)


IMAGES = Settings(pool_subset=2000, test_samples=20)
"""60 000 rows are many to score in every round: of each round, 2000 random ones are offered to all methods."""

TASKS = {
    task.name: task
    for task in (
        Task("digits", partial(data.load, "digits"), mlp),
        Task("mnist", partial(data.load, "mnist"), mlp, IMAGES),
        Task("fashion_mnist", partial(data.load, "fashion_mnist"), mlp, IMAGES),
        Task(
            "cifar10", partial(data.load, "cifar10"), lenet, dataclasses.replace(IMAGES, max_labels=520, batch_size=50)
        ),
        Task(
            "two_moons",
            partial(data.load, "two_moons"),
            partial(mlp, dropout=0.2),
            Settings(initial_labels=4, batch_size=2, max_labels=44),
        ),
        Task("repeated", _repeated, mlp),
        Task("imbalanced", _imbalanced, mlp),
        Task("noisy_labels", _noisy_labels, mlp),
    )
}
"""digits: 1297 images of 8 x 8 pixels, 20 to 220 labels by 10, an MLP of two hidden layers; mnist, fashion_mnist: the
same MLP, 2000 random rows offered a round; cifar10: LeNet, 20 to 520 by 50; two_moons: 4 to 44 by 2; repeated: digits
three times with noise; imbalanced: a tenth of the digits 0 to 4; noisy_labels: 20 % of the oracle's answers wrong."""


def task(name: str | Task, **settings: Any) -> Task:
    """The task of that name, or the one given, with other `settings`: `lab.task("digits", max_labels=120)`.

    ValueError, with close matches, for an unknown name; TypeError for an unknown setting.
    """
    if not isinstance(name, Task):
        if name not in TASKS:
            raise unknown("task", name, TASKS)
        name = TASKS[name]
    return name._replace(settings=dataclasses.replace(name.settings, **settings))
