"""Error messages that more than one module needs."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, value: str, known: Iterable[str]) -> ValueError:
    """The ValueError, for the caller to raise, for a name that is not in `known`: close matches and all names."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names)
    hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ";"
    return ValueError(f"{kind}={value!r} is unknown{hint} known: {', '.join(names)}")
