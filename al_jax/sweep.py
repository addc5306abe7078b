"""Numbers of a recipe as an axis: the settings of a sweep are further rows beside the seeds of one compiled program.

Inside the program such a number is traced, so that whatever takes it must not ask for its value: constructors check
numbers that are `known`, and a sweep makes the posterior of every setting once on the host, before anything is
compiled.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from al_jax.memo import unremembered
from al_jax.types import Posterior

Sweep: TypeAlias = Mapping[str, Sequence[float]]
"""Numbers to try, by the name of the parameter; all combinations are run."""
Recipe: TypeAlias = Posterior | Callable[..., Posterior]
"""A posterior, or a function of swept numbers, by name, that makes one."""
UNSWEPT: dict[str, Any] = {}
"""The numbers of a campaign without a sweep; never mutated."""


class Repetition(NamedTuple):
    """One row of a campaign's axis S: a seed, and the swept numbers it runs with."""

    seed: int
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """How the row is called in what is said of it."""
        return f"{self.seed} with {text(self.values)}" if self.values else str(self.seed)


def known(value: Any) -> bool:
    """Whether a number has a value: it is not a swept one inside a program."""
    return not isinstance(value, jax.core.Tracer)


def if_swept(value: Any) -> Any:
    """What a function that no traced number may be closed over in is given: a swept `value`, or None for a known one.

    `mesh.one_by_one_on_cpu` makes such functions. A known value stays a constant of the program.
    """
    return None if all(map(known, jax.tree.leaves(value))) else value


def is_zero(value: Any) -> bool:
    """Whether a number is 0 in every setting of a sweep."""
    return known(value) and value == 0


def at(recipe: Recipe, values: Mapping[str, Any]) -> Posterior:
    """The posterior that a recipe makes of these numbers; of no numbers it is a posterior itself."""
    if isinstance(recipe, Posterior):
        return recipe
    with unremembered():  # what closes over traced numbers is of no use outside their program
        return recipe(**values)


def text(values: Mapping[str, float]) -> str:
    """Swept numbers as people write them: `learning_rate=0.001, dropout=0.5`."""
    return ", ".join(f"{name}={value:g}" for name, value in values.items())


def settings_of(recipe: Recipe, sweep: Sweep | None) -> tuple[dict[str, float], ...]:
    """The settings of a sweep, the last name changing fastest; one without numbers where nothing is swept.

    ValueError unless every name has distinct finite numbers and `recipe` is a function that makes a posterior of each
    setting, or, without a sweep, a posterior. The recipe's own errors name the setting.
    """
    if not sweep:
        if not isinstance(recipe, Posterior):
            raise ValueError(f"posterior={recipe!r:.80}: expected a Posterior, for nothing is swept")
        return ({},)
    if isinstance(recipe, Posterior):
        names = ", ".join(sweep)
        raise ValueError(f"sweep={names}: expected a function of {names} that makes the posterior, not a made one")
    for name, numbers in sweep.items():
        array = np.asarray(numbers)
        distinct = array.ndim == 1 and len(array) == len(np.unique(array))
        if array.dtype.kind not in "iuf" or not distinct or not len(array) or not np.isfinite(array).all():
            raise ValueError(f"sweep has {name}={numbers!r}: expected distinct finite numbers")
    found = tuple(dict(zip(sweep, map(float, row), strict=True)) for row in itertools.product(*sweep.values()))
    if len({text(values) for values in found}) < len(found):
        raise ValueError(f"sweep={dict(sweep)!r}: expected numbers that differ in their first six digits")
    for values in found:
        try:
            made = at(recipe, values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the posterior of {text(values)}: {error}") from error
        if not isinstance(made, Posterior):
            raise ValueError(f"the posterior of {text(values)} is a {type(made).__name__}: expected a Posterior")
    return found


def columns(repetitions: Sequence[Repetition]) -> dict[str, np.ndarray]:
    """The swept numbers as arrays float32 [S], by name."""
    return {name: np.asarray([row.values[name] for row in repetitions], np.float32) for name in repetitions[0].values}


def nearest(settings: Sequence[Mapping[str, float]], values: Mapping[str, float]) -> int:
    """The place of a setting among others; ValueError when it is none of them."""
    for place, setting in enumerate(settings):
        if setting.keys() == values.keys() and all(math.isclose(setting[n], v) for n, v in values.items()):
            return place
    raise ValueError(f"{text(values) or 'no setting'}: expected one of {'; '.join(map(text, settings))}")
