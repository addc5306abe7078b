"""All names that expressions may use, by kind."""

import inspect
import re
from typing import Any, NamedTuple

from rich.table import Table

from al_jax import vocabulary
from al_jax.acquisitions import needs
from al_jax.annotations import is_constructor, parameter_text, signature_of
from experiments.experiment import KINDS, names
from experiments.runner import console


class Entry(NamedTuple):
    """A name, as it is called, in one line, with its source and what it needs."""

    call: str
    line: str
    source: str
    needs: str


def entry(kind: str, name: str, thing: Any) -> Entry:
    """What there is to say of a name."""
    doc = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    source = re.search(r"\(([A-Z][^()]*?\d{4}[^()]*)\)|^((?:[A-Z][\w&.' -]+)+\d{4}):", doc)
    line = doc.replace(f"({source.group(1)})", "").strip() if source and source.group(1) else doc
    bound = vocabulary.BOUND.get(kind, frozenset())
    arguments = [parameter_text(p) for p in signature_of(thing).parameters.values() if p.name not in bound]
    # A score, and a layer that goes into a network, is named without brackets.
    bare = not is_constructor(thing) or "features" in signature_of(thing).parameters
    return Entry(
        name if bare or not arguments else f"{name}({', '.join(arguments)})",
        re.sub(r"\s+([.,:;])", r"\1", line),
        (source.group(1) or source.group(2)).strip() if source else "",
        ", ".join(needs.needs(thing)) if kind == "acquisition" else "",
    )


def print_names(imports: tuple[str, ...] = ()) -> None:
    """Print a table for every kind, the imported names included."""
    more = names(imports)
    for kind in KINDS:
        found = vocabulary.names(kind, more)
        entries = [entry(kind, name, thing) for name, thing in sorted(found.items())]
        table = Table(title=f"--{kind}", title_justify="left", expand=True, show_lines=False, box=None, pad_edge=False)
        table.add_column("name", overflow="fold", width=max(24, *map(len, found)))
        table.add_column("what it is", ratio=6)
        if any(e.source for e in entries):
            table.add_column("source", ratio=3)
        if any(e.needs for e in entries):
            table.add_column("needs", ratio=2)
        for e in entries:
            row = [e.call, e.line]
            row += [e.source] if any(other.source for other in entries) else []
            row += [e.needs] if any(other.needs for other in entries) else []
            table.add_row(*row)
        console.print(table, "", markup=False)
