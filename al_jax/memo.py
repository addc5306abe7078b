"""Equal arguments give the same object, so that what was compiled for it is found again."""

import contextlib
import contextvars
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
KEPT = 256
"""Objects that each constructor remembers."""
_remembering = contextvars.ContextVar("remembering", default=True)


@contextlib.contextmanager
def unremembered() -> Iterator[None]:
    """Within it constructors make new objects and keep none."""
    before = _remembering.set(False)
    try:
        yield
    finally:
        _remembering.reset(before)


def memoised(constructor: F, kept: int = KEPT) -> F:
    """`constructor`, which returns the object it made before when it is called with equal arguments once more.

    Arguments are equal when they have the same type, too: True is not 1. Where one has no hash, as an array, a new
    object is made in every call.
    """
    signature, made = inspect.signature(constructor), OrderedDict[Any, Any]()

    @functools.wraps(constructor)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _remembering.get():
            return constructor(*args, **kwargs)
        try:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            key = tuple((name, typed(value)) for name, value in bound.arguments.items())
            hash(key)
        except TypeError:  # no hash, or wrong arguments, of which the constructor itself complains
            return constructor(*args, **kwargs)
        if key not in made:
            made[key] = constructor(*args, **kwargs)
            if len(made) > kept:
                made.popitem(last=False)
        made.move_to_end(key)
        return made[key]

    return call  # type: ignore[return-value]


def typed(value: Any) -> Any:
    """The value as a key in which equal numbers of different types differ; lists and dictionaries become tuples."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value), tuple(map(typed, value))
    if isinstance(value, dict):
        return dict, tuple((name, typed(item)) for name, item in value.items())
    return type(value), value
