"""What constructors say of their arguments: annotations, literals that fit them, signatures, in words for errors."""

import collections.abc
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

LITERALS = (bool, int, float, str, type(None))
PRIVATE = ("parent", "name")
"""Fields that every Flax module has and that are not the user's."""

MISFIT: Any = object()


def options(want: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, without their metadata."""
    if get_origin(want) is typing.Annotated:
        return options(get_args(want)[0])
    if get_origin(want) in (Union, types.UnionType):
        return tuple(option for arg in get_args(want) for option in options(arg))
    return (want,)


def metadata_of(hint: Any) -> tuple[Any, ...]:
    """What `Annotated` says beside the type."""
    return get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ()


def fit(value: Any, want: Any) -> Any:
    """The literal as the annotation wants it, or MISFIT: whole numbers are floats, True is no number."""
    if get_origin(want) is Literal:
        return value if any(value == choice and type(value) is type(choice) for choice in get_args(want)) else MISFIT
    if want is Any:
        return value
    if want is float and type(value) is int:
        return float(value)
    return value if want in LITERALS and type(value) is want else MISFIT


def finite(number: int | float) -> bool:
    """Whether a float can hold it."""
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def is_constructor(thing: Any) -> bool:
    """Whether it makes something that a text can name: not a function of predictions, which returns arrays."""
    if inspect.isclass(thing):
        return True
    made = hints_of(thing).get("return")
    return made is not None and made.__module__.split(".")[0] != "jaxtyping"


def result_of(thing: Any) -> Any:
    """The type of what a constructor makes."""
    return thing if inspect.isclass(thing) else hints_of(thing)["return"]


def is_a(made: Any, want: type) -> bool:
    """Whether a constructor's result is of the wanted type; type aliases are compared as such."""
    return inspect.isclass(made) and want in made.__mro__  # not issubclass: protocols count by name


def is_function_type(want: Any) -> bool:
    """Whether the annotation asks for a function."""
    return get_origin(want) is collections.abc.Callable


def makes_networks(want: Any) -> bool:
    """Whether the annotation asks for a function that makes a layer: a class, then, is not called."""
    return inspect.isclass(result := get_args(want)[1]) and result.__name__ == "Module"


@functools.cache
def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by parameter, with their metadata."""
    target = function.__init__ if inspect.isclass(function) else function  # type: ignore[misc]
    return typing.get_type_hints(target, include_extras=True)


@functools.cache
def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature, without what every Flax module has."""
    signature = inspect.signature(function)
    return signature.replace(
        parameters=[
            p for name, p in signature.parameters.items() if not (inspect.isclass(function) and name in PRIVATE)
        ]
    )


def parameter_text(p: inspect.Parameter) -> str:
    """A parameter as people write it."""
    star = "*" if p.kind is p.VAR_POSITIONAL else ""
    if p.default is p.empty:
        return star + p.name
    return f"{p.name}={getattr(p.default, '__name__', None) or repr(p.default)}"


def told(want: Any) -> str:
    """An annotation in words."""

    def one(option: Any) -> str:
        if option is type(None) or option is None:
            return "None"
        if get_origin(option) is Literal:
            return " or ".join(map(repr, get_args(option)))
        if is_function_type(option):
            return "a layer" if makes_networks(option) else "a score such as bald"
        if get_origin(option) is not None:
            inner = ", ".join(told(arg) for arg in get_args(option) if arg is not Ellipsis)
            return f"a {get_origin(option).__name__.lower()} of {inner}"
        words = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "True or False"}
        if option in words:
            return words[option]
        name = getattr(option, "__name__", str(option))
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"

    found = [one(option) for option in options(want) if getattr(option, "__module__", "") != "jaxtyping"]
    return " or ".join(dict.fromkeys(found))
