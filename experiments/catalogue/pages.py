"""The text of the catalogue's pages, from the public names, their signatures and docstrings, and the comparison."""

import functools
import re
from typing import Any

from al_jax import results, vocabulary
from experiments.atlas.arms import ACQUISITIONS, BASELINE, POSTERIORS, REGIMES, RESULTS
from experiments.atlas.page import rounds_of
from experiments.catalogue.examples import EXAMPLES, OTHER_LABELS
from experiments.listing import entry

INTRODUCTIONS = {
    "acquisition": """# Acquisitions

An acquisition chooses the rows to label next. Every name below works in `--acquisition`, in `lab.compare([...])` and in
Python as `al_jax.acquisitions.<name>`. All of them obey the [laws](../concepts/laws.md).

The pictures show two moons with eight labelled rows (squares), the prediction of MC dropout (colours), and the ten rows
that the method picks, in their order. The tables are from [the atlas](../atlas.md): the area under the learning curve
minus that of random, in percentage points, over 20 paired seeds, with 95 % intervals. A low budget is 1 to 10 labels a
class, a middle one 2 to 22; large batches take four a class at a time.
""",
    "posterior": """# Posteriors

A posterior trains networks on the labelled rows and gives samples of functions. Every name works in `--posterior` and
in Python as `al_jax.posteriors.<name>(network, likelihood, training)`. [How good they are](../results/posteriors.md) is
measured against long runs of NUTS.
""",
    "network": """# Networks

Names for `--network`, and Flax modules in `al_jax.models`. [Your own network](../how_to/own_network.md) works as well.
""",
    "data": """# Data

Names for `--data`, and functions in `al_jax.data` that return a `Dataset`. Some change another data set:
`repeated(digits, 3)`.
""",
    "training": """# Training

What `--training` may say: an optimiser, an objective, and around them schedules, penalties, augmentations and early
stopping, as in `fixmatch(threshold=0.95), adam(cosine(1e-3)), steps=500, penalty=l2(1e-4)`. In Python these are
arguments of `al_jax.training.Training`. [Objectives](../reference/training.md) are also how to train on unlabelled rows
in a way of your own.
""",
    "likelihood": """# Likelihoods

How a network's outputs meet labels: names for `--likelihood`, and functions in `al_jax.likelihood`.
""",
}
FAMILIES = {
    "scores": "Scores of posterior samples",
    "draws": "Batches and targets, from posterior samples",
    "gradients": "Gradients of the last layer",
    "features": "Features",
    "inputs": "Inputs",
    "learned": "Models of their own",
    "regression": "Regression",
    "combinators": "Combinations",
    "": "And around them",
}
"""Of acquisitions, by the folder or file that they are in."""
FILES = {"acquisition": "acquisitions", "posterior": "posteriors", "network": "networks", "likelihood": "likelihoods"}
NOTE = "<!-- Written by `python -m experiments.catalogue`. -->\n\n"


def pages() -> dict[str, str]:
    """The pages by their file names in docs/catalogue/."""
    written = {}
    for kind, introduction in INTRODUCTIONS.items():
        found = vocabulary.names(kind)
        parts = [NOTE + introduction]
        if kind == "acquisition":
            by_family = {family: sorted(n for n in found if family_of(found[n]) == family) for family in FAMILIES}
            for family, names in by_family.items():
                parts += [f"## {FAMILIES[family]}\n", *(of_acquisition(name, found[name]) for name in names)]
        else:
            parts += [of_name(kind, name, thing) for name, thing in sorted(found.items())]
        written[f"{FILES.get(kind, kind)}.md"] = "\n".join(parts).rstrip() + "\n"
    return written


def family_of(thing: Any) -> str:
    """The folder of acquisitions/, or the file in it, that the thing is in."""
    part = thing.__module__.removeprefix("al_jax.acquisitions.").split(".")[0]
    return part if part in FAMILIES else ""


def of_name(kind: str, name: str, thing: Any) -> str:
    """A name with how it is called, and its docstring."""
    call = entry(kind, name, thing).call
    return f"## {name} {{ #{name} }}\n\n`{call}`\n\n{documentation(thing)}"


def documentation(thing: Any) -> str:
    """The directive that puts the docstring of a thing on the page."""
    return f"::: {thing.__module__}.{thing.__qualname__}\n    options:\n      show_root_heading: false\n"


def of_acquisition(name: str, thing: Any) -> str:
    """A name with its picture, what it needs, its docstring and its rows in the comparison."""
    told = entry("acquisition", name, thing)
    picture = f"![What {name} picks](pictures/{name}.png){{ align=right }}\n\n" if drawn(name) else ""
    needs = "what its arguments need" if told.needs == "arguments" else told.needs
    lines = [f"### {name} {{ #{name} }}\n", f"{picture}`{told.call}`\n", f"Needs: {needs}.\n"]
    if thing.__name__ != name:
        lines.append(f"The same function as `{thing.__name__}`.\n")
    lines += [documentation(thing), comparison(name)]
    return "\n".join(filter(None, lines))


def drawn(name: str) -> bool:
    """Whether two moons can show it."""
    return name not in OTHER_LABELS


def example(name: str) -> str:
    """How the acquisition is written in its picture."""
    return EXAMPLES.get(name, name)


def comparison(name: str) -> str:
    """Rows of the atlas on digits whose outermost name this is; empty where it did not run."""
    rows = [row for text in ACQUISITIONS if re.split(r"\W", text)[0] == name for row in rows_of(text)]
    head = ["| on digits | posterior | budget | AUBC - random |", "|---|---|---|---:|"]
    return "\n".join([*head, *rows, ""]) if rows else ""


def rows_of(text: str) -> list[str]:
    """A row for each posterior and regime."""
    found = [(p, r, differences(p, r).get(text)) for p in POSTERIORS for r in REGIMES]
    return [f"| `{text}` | `{posterior}` | {regime} | {gap} |" for posterior, regime, gap in found if gap]


@functools.cache
def differences(posterior: str, regime: str) -> dict[str, str]:
    """By method, the AUBC minus random's in percentage points, with its interval."""
    rounds = rounds_of(RESULTS, "digits", regime, posterior)
    if rounds is None or rounds["method"].nunique() < 2:
        return {}
    gaps = results.paired_difference(rounds, BASELINE, "aubc")
    return {row.method: results.points(row.mean, row.low, row.high) for row in gaps.itertuples()}
