"""Texts such as `prefilter(bald, 200, core_set())`: names, calls of named functions, and literals, read without `eval`.

A `Vocabulary` says which names there are and what a text of its kind must make. A bare name of a constructor is a call
with its defaults; a score is what it is. Annotations of the constructors say what each argument may be. Parameters that
only a program can give (a network, training, data) are `bound` by the reader and cannot stand in a text.
"""

import ast
import collections.abc
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from al_jax.annotations import (
    LITERALS,
    MISFIT,
    finite,
    fit,
    hints_of,
    is_a,
    is_constructor,
    is_function_type,
    makes_networks,
    metadata_of,
    options,
    parameter_text,
    result_of,
    signature_of,
    told,
)

LONGEST, DEEPEST = 4000, 20
"""Characters of a text, and brackets within brackets."""
CLOSING = {")": "(", "]": "[", "}": "{"}

Bound = Mapping[str, Callable[[tuple[Any, ...]], Any]]
"""Values of parameters by name, made from the metadata of their annotation (`Annotated[type, ...]`)."""


class ExpressionError(ValueError):
    """A text that cannot be read: one line that quotes it, points at the place, and says what was expected."""


class Vocabulary(NamedTuple):
    """What texts of one kind may say.

    kind: of the texts, for errors: "acquisition".
    names: by which functions and classes are called.
    makes: the type that a text must make.
    lift: makes it of a function that is no constructor (`top_k` of a score).
    call: the text is the list of arguments of this function, not an expression.
    bound: parameters that no text can give.
    filled: parameters that the reader gives where the text does not, so that their default is not what is missing.
    """

    kind: str
    names: Mapping[str, Any]
    makes: Any
    lift: Callable[[Any], Any] | None = None
    call: Callable[..., Any] | None = None
    bound: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()


class Expression(NamedTuple):
    """A text that was read: its canonical form, and what makes the object."""

    text: str
    make: Callable[[Bound], Any]


def read(text: str, vocabulary: Vocabulary) -> Expression:
    """Read `text`; ExpressionError unless it makes what the vocabulary's texts make. Nothing is constructed yet.

    The canonical text leaves out spaces, and arguments that have their default value. `make(bound)` calls the
    constructors; their ValueErrors become ExpressionErrors with their name.
    """
    reader = Reader(text, vocabulary)
    reader.check()
    if vocabulary.call is None:
        return reader.value(parsed(reader, text, 0), vocabulary.makes)
    return reader.call(vocabulary.call, vocabulary.kind, *split_arguments(reader, text), (0, len(text)))


class Place(NamedTuple):
    """A node of the syntax tree, and the column where the parsed part of the text begins."""

    node: ast.expr
    offset: int


class Reader:
    """Reads one text."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.text, self.vocabulary = text, vocabulary

    def error(self, message: str, column: int | None = None) -> ExpressionError:
        """The error, for the caller to raise; `column` counts from 0."""
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}..."
        where = "" if column is None else f" at column {column + 1}"
        return ExpressionError(f"{self.vocabulary.kind}={shown!r}:{where} {message}")

    def check(self) -> None:
        """Refuse what need not be parsed: too long, too deep, characters that only look like others."""
        if not isinstance(self.text, str):
            raise ExpressionError(f"{self.vocabulary.kind}={self.text!r}: expected a text")
        if not self.text.strip():
            raise self.error(f"empty; expected for example {self.example()}")
        if len(self.text) > LONGEST:
            raise self.error(f"{len(self.text)} characters; expected at most {LONGEST}")
        opened: list[str] = []
        for column, character in outside_strings(self.text):
            if not character.isascii() or not (character.isprintable() or character.isspace()):
                raise self.error(f"the character {character!r} is no ASCII; expected names of letters a-z", column)
            if character in "([{":
                opened.append(character)
                if len(opened) > DEEPEST:
                    raise self.error(f"more than {DEEPEST} brackets within brackets", column)
            elif character in CLOSING and (not opened or opened.pop() != CLOSING[character]):
                raise self.error(f"{character!r} closes nothing that is open", column)
        if opened:
            raise self.error(f"{opened[-1]!r} is never closed", len(self.text) - 1)

    def example(self) -> str:
        """A text that can be read, for errors."""
        return repr(next(iter(self.vocabulary.names), ""))

    # Values

    def value(self, place: Place, want: Any) -> Expression:
        """What stands at `place`, if it is a `want`."""
        node, column = place.node, place.offset + place.node.col_offset
        if isinstance(node, ast.Name):
            return self.named(node.id, want, column)
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name):
                raise self.error("only names can be called, such as core_set()", column)
            function = self.look_up(node.func.id, column)
            if not is_constructor(function):
                raise self.error(f"{node.func.id} is a function of predictions: name it without brackets", column)
            made, lift = result_of(function), None
            if not self.fits(made, want):
                if is_function_type(made) and self.fits(self.vocabulary.makes, want):
                    lift = self.vocabulary.lift
                if lift is None:
                    raise self.error(f"{node.func.id} makes {told(made)}; expected {told(want)}", column)
            positional = [Place(arg, place.offset) for arg in node.args]
            keywords = []
            for keyword in node.keywords:
                if keyword.arg is None:
                    raise self.error("** is not allowed; expected name=value", column)
                keywords.append((keyword.arg, Place(keyword.value, place.offset)))
            ends = column, place.offset + (node.end_col_offset or 0)
            called = self.call(function, node.func.id, positional, keywords, ends)
            return called if lift is None else Expression(called.text, lambda bound: lift(called.make(bound)))
        if isinstance(node, ast.Tuple | ast.List | ast.Dict):
            return self.collection(place, want)
        return self.literal(place, want)

    def look_up(self, name: str, column: int) -> Any:
        """The thing of that name; an error with close matches when there is none."""
        names = self.vocabulary.names
        if name not in names:
            close = difflib.get_close_matches(name, names)
            hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ";"
            raise self.error(f"{name!r} is unknown{hint} known: {', '.join(sorted(names))}", column)
        return names[name]

    def named(self, name: str, want: Any, column: int) -> Expression:
        """A bare name: a function of predictions itself, or a constructor with its defaults."""
        found = self.look_up(name, column)
        functions = [option for option in options(want) if is_function_type(option)]
        if functions and (not is_constructor(found) or any(makes_networks(option) for option in functions)):
            return Expression(name, lambda _: found)
        if not is_constructor(found):
            lift = self.vocabulary.lift
            if lift is None or not self.fits(self.vocabulary.makes, want):
                raise self.error(f"{name} is a function of predictions; expected {told(want)}", column)
            return Expression(name, lambda _: lift(found))
        if not self.fits(result_of(found), want):
            raise self.error(f"{name} makes {told(result_of(found))}; expected {told(want)}", column)
        return self.call(found, name, [], [], (column, column + len(name)))

    def fits(self, made: Any, want: Any) -> bool:
        """Whether something of type `made` may stand for `want`."""
        if is_function_type(made):
            return any(is_function_type(option) and not makes_networks(option) for option in options(want))
        return any(option is Any or (isinstance(option, type) and is_a(made, option)) for option in options(want))

    def literal(self, place: Place, want: Any) -> Expression:
        """A number, a text, True, False or None."""
        node, column = place.node, place.offset + place.node.col_offset
        sign, inner = 1, node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sign, inner = -1, node.operand
        if not isinstance(inner, ast.Constant) or not isinstance(inner.value, LITERALS):
            raise self.error(f"{described(node)} is not allowed; expected {told(want)}", column)
        value = inner.value
        if sign < 0:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.error("a minus stands before numbers only", column)
            value = -value
        if isinstance(value, int | float) and not isinstance(value, bool) and not finite(value):
            raise self.error("the number is too large; expected a finite one", column)
        for option in options(want):
            if (fitted := fit(value, option)) is not MISFIT:
                return Expression(repr(fitted), lambda _: fitted)
        raise self.error(f"{value!r} where {told(want)} was expected", column)

    def collection(self, place: Place, want: Any) -> Expression:
        """A tuple, list or dictionary whose items are read as their annotation says."""
        node, column = place.node, place.offset + place.node.col_offset
        for option in options(want):
            origin, args = get_origin(option), get_args(option)
            if isinstance(node, ast.Dict) and origin in (dict, collections.abc.Mapping):
                keys = [key for key in node.keys if key is not None]
                if len(keys) < len(node.values):
                    raise self.error("** is not allowed; expected name: value", column)
                pairs = [
                    (self.value(Place(k, place.offset), args[0]), self.value(Place(v, place.offset), args[1]))
                    for k, v in zip(keys, node.values, strict=True)
                ]
                text = "{" + ", ".join(f"{k.text}: {v.text}" for k, v in pairs) + "}"
                return Expression(text, lambda bound: {k.make(bound): v.make(bound) for k, v in pairs})  # noqa: B023
            if isinstance(node, ast.Tuple | ast.List) and origin in (tuple, list, collections.abc.Sequence):
                inner = [self.value(Place(item, place.offset), args[0]) for item in node.elts]
                text = ", ".join(item.text for item in inner) + ("," if len(inner) == 1 else "")
                return Expression(f"({text})", lambda bound: tuple(item.make(bound) for item in inner))  # noqa: B023
        raise self.error(f"{described(node)} where {told(want)} was expected", column)

    # Calls

    def call(
        self,
        function: Callable[..., Any],
        name: str,
        positional: list[Place],
        keywords: list[tuple[str, Place]],
        ends: tuple[int, int],
    ) -> Expression:
        """A call with its arguments read and checked against the signature."""
        hints, signature = hints_of(function), signature_of(function)
        open_parameters = [p for p in signature.parameters.values() if p.name not in self.vocabulary.bound]
        shown = f"{name}({', '.join(map(parameter_text, open_parameters))})"
        given: dict[str, Expression] = {}
        rest: list[Expression] = []
        takes = [p for p in open_parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        many = next((p for p in open_parameters if p.kind is p.VAR_POSITIONAL), None)
        for index, place in enumerate(positional):
            if index < len(takes):
                given[takes[index].name] = self.value(place, hints.get(takes[index].name, Any))
            elif many is not None:
                rest.append(self.value(place, hints.get(many.name, Any)))
            else:
                column = place.offset + place.node.col_offset
                raise self.error(f"{len(positional)} arguments are too many; expected {shown}", column)
        by_name = {p.name: p for p in open_parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        for keyword, place in keywords:
            column = place.offset + place.node.col_offset
            if keyword in self.vocabulary.bound and keyword in signature.parameters:
                raise self.error(f"{keyword} is not given in a text, it is bound; expected {shown}", column)
            if keyword not in by_name:
                close = difflib.get_close_matches(keyword, by_name)
                hint = f", did you mean {close[0]}?" if close else ""
                raise self.error(f"{name} has no argument {keyword!r}{hint}; expected {shown}", column)
            if keyword in given:
                raise self.error(f"{keyword} is given twice; expected {shown}", column)
            given[keyword] = self.value(place, hints.get(keyword, Any))
        for p in by_name.values():
            if p.default is p.empty and p.name not in given:
                raise self.error(f"{p.name} is missing; expected {shown}", ends[0])
        texts = [given[p.name].text for p in takes if p.default is p.empty] + [item.text for item in rest]
        texts += [
            f"{p.name}={given[p.name].text}"
            for p in by_name.values()
            if p.default is not p.empty
            and p.name in given
            and (p.name in self.vocabulary.filled or not is_default(given[p.name], p.default))
        ]
        text = ", ".join(texts)
        if self.vocabulary.call is not function:
            text = f"{name}({text})" if text else name
        open_here = {p: metadata_of(hints.get(p)) for p in signature.parameters if p not in given}
        names_before = [p.name for p in takes] if rest else []

        def make(bound: Bound) -> Any:
            arguments = {p: item.make(bound) for p, item in given.items()}
            arguments |= {p: bound[p](said) for p, said in open_here.items() if p in bound}
            before = [arguments.pop(p) for p in names_before]
            try:
                made = function(*before, *(item.make(bound) for item in rest), **arguments)
            except ExpressionError:
                raise
            except (ValueError, TypeError, MemoryError, OverflowError) as error:
                raise self.error(f"{name}: {error}", ends[0]) from error
            promised = result_of(function)
            if promised is self.vocabulary.makes and not isinstance(made, promised):
                raise self.error(f"{name} made {made!r:.60}; expected {told(promised)}, as it says itself", ends[0])
            return made

        return Expression(text, make)


def split_arguments(reader: Reader, text: str) -> tuple[list[Place], list[tuple[str, Place]]]:
    """The arguments of a list without its brackets, in any order: `adam(1e-3), epochs=50, early_stopping(3)`."""
    cuts, depth = [-1], 0
    for column, character in outside_strings(text):
        depth += (character in "([{") - (character in CLOSING)
        if character == "," and depth == 0:
            cuts.append(column)
    positional: list[Place] = []
    keywords: list[tuple[str, Place]] = []
    for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
        part = text[start + 1 : end]
        if not part.strip():
            raise reader.error("an argument is missing", start + 1)
        if found := re.match(r"\s*([A-Za-z_]\w*)\s*=(?!=)", part):
            inside = start + 1 + found.end()
            keywords.append((found.group(1), parsed(reader, text[inside:end], inside)))
        else:
            positional.append(parsed(reader, part, start + 1))
    return positional, keywords


def parsed(reader: Reader, part: str, start: int) -> Place:
    """The syntax tree of a part of the text that begins at column `start`."""
    stripped = part.lstrip()
    # Line breaks within brackets are spaces, and so columns count through.
    source = re.sub(r"\s", " ", stripped)
    offset = start + len(part) - len(stripped)
    try:
        return Place(ast.parse(source, mode="eval").body, offset)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        column = offset + (getattr(error, "offset", None) or 1) - 1
        said = getattr(error, "msg", str(error))
        raise reader.error(f"{said}; expected an expression such as {reader.example()}", column) from error


def outside_strings(text: str) -> collections.abc.Iterator[tuple[int, str]]:
    """Column and character of all that is not within quotes."""
    quote, escaped = "", False
    for column, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        else:
            yield column, character


def is_default(given: Expression, default: Any) -> bool:
    """Whether an argument has its default value; of literals alone."""
    if isinstance(default, tuple | list):
        return given.text == f"({', '.join(map(repr, default))}{',' if len(default) == 1 else ''})"
    return isinstance(default, LITERALS) and given.text == repr(default)


def described(node: ast.expr) -> str:
    """What stands in the text, for errors."""
    kinds = {ast.Attribute: "an attribute", ast.Subscript: "a subscript", ast.Lambda: "a lambda"}
    kinds |= {ast.BinOp: "an operator", ast.BoolOp: "an operator", ast.Compare: "a comparison"}
    kinds |= {ast.Starred: "a star", ast.JoinedStr: "an f-string", ast.Tuple: "a tuple", ast.List: "a list"}
    kinds |= {ast.Dict: "a dictionary", ast.IfExp: "a condition", ast.UnaryOp: "an operator"}
    return kinds.get(type(node), type(node).__name__)
