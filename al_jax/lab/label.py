"""The labelling widget of a notebook."""

from collections.abc import Callable
from typing import Any

from al_jax.engine import parallel
from al_jax.lab.labelling import Labelling


def label(labelling: Labelling, show: Callable[[Any], str] | None = None) -> None:
    """Show the rows that are asked for in a notebook, with a button for each class, Skip and Undo, up to the budget.

    Every click is on the disk at once; run the cell again, or open the folder in a new kernel, to go on. `show` makes
    HTML of one row of the inputs; by default images are shown as such, other values as a table or a line.
    ImportError, with the remedy, without ipywidgets.
    """
    try:
        from IPython.display import display

        from al_jax.lab.widget import Labeller
    except ModuleNotFoundError as error:
        raise ImportError("lab.label needs ipywidgets: pip install 'al_jax[notebook]'") from error
    parallel.enable_compilation_cache()
    labeller = Labeller(labelling, show)
    display(labeller)
    labeller.go_on()
