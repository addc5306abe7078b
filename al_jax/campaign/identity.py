"""What a campaign is, read off what it is made of: a checkpoint of another one must not be continued."""

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from al_jax.campaign.records import Settings
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.sweep import Recipe
from al_jax.types import Acquisition, Likelihood

LIBRARIES = {"al_jax", "flax", "jax", "numpyro", "optax"}
"""Whose functions count by their names: what their versions change, a run's `environment.json` records."""


def identity(
    recipe: Recipe,
    acquisition: Acquisition,
    likelihood: Likelihood | None,
    dataset: Dataset,
    settings: Settings,
    start: np.ndarray,
    sweep: Sequence[Mapping[str, float]] = ({},),
) -> dict[str, Any]:
    """JSON that is equal for campaigns that acquire the same rows: settings, and hashes of the rest.

    `start [S, m]` are the initial rows of all seeds, `sweep` the settings of one.
    """
    shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", (dataset.inputs, dataset.test_inputs))
    data = str(shapes), dataset.labels, dataset.test_labels, dataset.validation_labels
    parts: dict[str, Any] = {
        "posterior": recipe,
        "acquisition": acquisition,
        "likelihood": likelihood or categorical(),
    }
    parts |= {"data": data, "initial": start} | ({"sweep": sweep} if sweep[0] else {})
    known = {name: hashlib.sha256(described(part).encode()).hexdigest()[:12] for name, part in parts.items()}
    return known | json.loads(json.dumps(dataclasses.asdict(settings)))


def described(thing: Any) -> str:
    """A text that two things share when they do the same: functions with their bytecode and all that they close over.

    Arrays count by their content, Flax modules by their attributes and methods, other values by what they print; an
    object that prints where it lies in memory by its type alone.
    """
    return _Describing(set(), {}).of(thing)


class _Describing(NamedTuple):
    open: set[int]  # functions whose description has begun: they may close over themselves
    known: dict[int, str]  # that of functions, which are met again and again

    def of(self, thing: Any) -> str:
        if isinstance(thing, np.ndarray | jax.Array) and not jax.dtypes.issubdtype(thing.dtype, jax.dtypes.prng_key):
            content = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
            return f"{thing.dtype}{list(thing.shape)}{content}"
        if isinstance(thing, Mapping):
            return f"{{{', '.join(f'{key}: {self.of(value)}' for key, value in thing.items())}}}"
        if isinstance(thing, set | frozenset):
            return f"({', '.join(sorted(map(self.of, thing)))})"
        if isinstance(thing, tuple | list):
            return f"({', '.join(map(self.of, thing))})"
        if isinstance(thing, nn.Module):
            own = {name: inspect.unwrap(value) for name, value in vars(type(thing)).items() if callable(value)}
            fields = {field.name: getattr(thing, field.name, None) for field in dataclasses.fields(thing)}
            del fields["parent"]
            return f"{_name(type(thing))}{self.of(fields)}{self.of(own)}"
        if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
            fields = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
            return f"{_name(type(thing))}{self.of(fields)}"
        if isinstance(thing, functools.partial):
            return f"partial{self.of((thing.func, thing.args, thing.keywords))}"
        code = getattr(inspect.unwrap(thing), "__code__", None) if callable(thing) else None
        if code is None:
            text = _name(thing) if isinstance(thing, type) else repr(thing)
            return _name(type(thing)) if " at 0x" in text else text
        return self.of_function(inspect.unwrap(thing))

    def of_function(self, function: Any) -> str:
        if id(function) in self.known:
            return self.known[id(function)]
        if id(function) in self.open:
            return "itself"
        self.open.add(id(function))
        defaults = self.of((function.__defaults__, function.__kwdefaults__))
        cells = [self.of_cell(cell) for cell in function.__closure__ or ()]
        self.open.remove(id(function))
        code = "" if _name(function).split(".")[0] in LIBRARIES else _code(function.__code__)
        self.known[id(function)] = f"{_name(function)}{code}{defaults}{cells}"
        return self.known[id(function)]

    def of_cell(self, cell: Any) -> str:
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            return "empty"
        return self.of(content)


def _code(code: Any) -> str:
    """Bytecode, names and constants; those of functions inside it likewise."""
    constants = [
        _code(value)
        if hasattr(value, "co_code")
        else sorted(map(repr, value))
        if isinstance(value, frozenset)
        else repr(value)
        for value in code.co_consts
    ]
    return f"<{hashlib.sha256(code.co_code).hexdigest()} {code.co_names} {constants}>"


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
