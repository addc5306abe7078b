"""Write the site's catalogue into docs/catalogue: a page a kind of name, and the pictures that are missing.

python -m experiments.catalogue             # after a name, a docstring or the comparison changed
python -m experiments.catalogue --redraw    # all pictures, some five minutes
"""

import dataclasses
from pathlib import Path

import tyro

from al_jax import vocabulary
from experiments import runner
from experiments.catalogue.pages import drawn, example, pages
from experiments.catalogue.pictures import draw
from experiments.runner import console

FOLDER = Path(__file__).parent.parent.parent / "docs" / "catalogue"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write."""

    redraw: bool = False
    """Draw all pictures again, not only missing ones."""
    output: Path = FOLDER
    """Where pages go, and pictures/ beside them."""


def main() -> None:
    """Write the pages, draw the pictures."""
    options = runner.expanded(tyro.cli(Options, prog="python -m experiments.catalogue", description=__doc__))
    pictures = options.output / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (options.output / name).write_text(text)
    for name in filter(drawn, vocabulary.names("acquisition")):
        path = pictures / f"{name}.png"
        if options.redraw or not path.exists():
            console.print(f"drawing {name}", highlight=False)
            draw(example(name), path)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
