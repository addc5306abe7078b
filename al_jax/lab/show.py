"""How the lab shows things: tables, pictures and progress, in a notebook and in a terminal."""

import base64
import contextlib
import html
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import track

from al_jax.results import text_table

WIDTH = 120


def table_text(table: pd.DataFrame, title: str | None = None, note: str | None = None) -> str:
    """A table of strings for a terminal."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(text_table(table, title, note))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def table_html(table: pd.DataFrame, note: str = "") -> str:
    """A table of strings for a notebook, with a note below."""
    wrapped = table.rename(columns=lambda header: str(header).replace("\n", " "))
    return f"{wrapped.to_html(index=False, border=0)}<p><small>{html.escape(note)}</small></p>"


def figure_html(figure: Figure, dpi: int = 100) -> str:
    """A picture that needs no file beside the notebook, of 256 colours: the notebook stays half as large."""
    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(png, "PNG", optimize=True)
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img style="max-width: 100%" src="data:image/png;base64,{data}">'


def fixed(table: pd.DataFrame, decimals: dict[str, int]) -> pd.DataFrame:
    """The columns in `decimals` as text with that many decimals, the others as they are; NaN is empty."""

    def text(value: object, places: int | None) -> str:
        if pd.isna(value):
            return ""
        return str(value) if places is None else f"{value:.{places}f}"

    columns = {name: [text(v, decimals.get(str(name))) for v in column] for name, column in table.items()}
    return pd.DataFrame(columns, index=table.index)


Report = Callable[[str, int, int], None]
"""(what, rounds done, rounds in total)."""


@contextlib.contextmanager
def progress() -> Iterator[tuple[Console | None, Report]]:
    """Where progress goes: a console for the bars of `campaign` in a terminal, or one line in a notebook's cell.

    rich's own bars in a notebook are widgets, of which a saved notebook shows nothing.
    """
    console = Console(stderr=True)
    if not console.is_jupyter:
        yield console, lambda *_: None
        return
    from IPython.display import HTML, display

    line = display(HTML(""), display_id=True)
    assert line is not None

    def report(what: str, done: int, total: int) -> None:
        bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
        line.update(HTML(f"{bar}{html.escape(what)}"))

    try:
        yield None, report
    finally:
        line.update(HTML(""))


T = TypeVar("T")


def counted(things: Sequence[T], what: str, console: Console | None, report: Report) -> Iterator[T]:
    """The things one by one, with progress."""
    for done, thing in enumerate(track(things, f"{what:<20}", console=console, disable=console is None)):
        report(what, done, len(things))
        yield thing
