"""What expressions are made of: the package's public names, by kind, and what is bound to them.

`acquisition("prefilter(bald, 200, core_set())")`, `dataset("repeated(mnist, 3)")`, and `posterior("ensemble(point, 5)",
dataset)` read a text and make the thing. `Names` may hold more than the package's own.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from al_jax import acquisitions, data, likelihood, models, posteriors, training
from al_jax.acquisitions import top_k
from al_jax.annotations import is_constructor, is_function_type, result_of
from al_jax.data import Dataset
from al_jax.expressions import Bound, Expression, Vocabulary, read
from al_jax.sweep import UNSWEPT, Recipe, at
from al_jax.training import Training
from al_jax.types import Acquisition, Likelihood, Posterior

SOURCES = {
    "data": (data, Dataset),
    "network": (models, nn.Module),
    "likelihood": (likelihood, Likelihood),
    "posterior": (posteriors, Posterior),
    "training": (training, Training),
    "acquisition": (acquisitions, Acquisition),
}
"""By kind: the module whose public names count, and what a text of the kind makes."""
NOT_NAMES = {
    "data": {"Dataset", "LOADERS", "TFDS_NAMES", "UCI_NAMES", "check", "initial_rows", "load", "original_rows"}
    | {"original_rows_of", "regression", "report", "tfds_rows"},
    "network": {"Gaussian", "Conv", "Dropout", "ChannelDropoutConv", "VariationalConv", "max_pool"},
    "likelihood": set[str](),
    "posterior": set[str](),
    "training": {"minibatch_rows", "train", "training"},
    "acquisition": {"acquire"},
}
"""Public names that are no part of an expression: functions of a program, types, layers inside networks."""
BOUND = {
    "network": frozenset({"num_classes", "shape"}),
    "likelihood": frozenset({"num_classes", "shift", "scale"}),
    "posterior": frozenset({"module", "likelihood", "training"}),
}
"""Parameters that the data, or other expressions, give."""
FILLED = {"network": frozenset({"mean", "std", "dropout", "dense", "last"})}
"""Parameters that the data or the posterior give where the text does not."""


class Names(NamedTuple):
    """Names beyond the package's, and files that they came from with their hashes."""

    more: tuple[tuple[str, Any], ...] = ()


NONE = Names()


def names(kind: str, more: Names = NONE) -> dict[str, Any]:
    """What texts of a kind may name: the public names of the package's folder in lower case, and `more` of the kind."""
    module, makes = SOURCES[kind]
    public = getattr(module, "__all__", None) or [n for n, v in vars(module).items() if _is_own_function(v, module)]
    found = {n: getattr(module, n) for n in public if n not in NOT_NAMES[kind] and n == n.lower()}
    return found | {name: thing for name, thing in more.more if belongs(thing, kind, makes)}


def _is_own_function(thing: Any, module: ModuleType) -> bool:
    return inspect.isfunction(thing) and thing.__module__ == module.__name__


def belongs(thing: Any, kind: str, makes: Any) -> bool:
    """Whether a user's own function or class is of this kind: by what it says it makes; otherwise it is a score."""
    if not is_constructor(thing):
        return kind == "acquisition"
    made = result_of(thing)
    if is_function_type(made):
        return kind == "acquisition"
    return inspect.isclass(made) and issubclass(made, makes)


def vocabulary(kind: str, more: Names = NONE) -> Vocabulary:
    """The `Vocabulary` of a kind."""
    return Vocabulary(
        kind,
        names(kind, more),
        SOURCES[kind][1],
        lift=top_k if kind == "acquisition" else None,
        call=training.training if kind == "training" else None,
        bound=BOUND.get(kind, frozenset()),
        filled=FILLED.get(kind, frozenset()),
    )


def expression(kind: str, text: str, more: Names = NONE) -> Expression:
    """Read a text of a kind; ExpressionError as of `expressions.read`. A call of `top_k` alone is its score's name."""
    found = read(text, vocabulary(kind, more))
    if kind == "acquisition" and found.text.startswith("top_k(") and found.text[6:-1].isidentifier():
        return found._replace(text=found.text[6:-1])
    return found


def acquisition(text: str, more: Names = NONE) -> Acquisition:
    """The acquisition that a text such as `bald` or `prefilter(bald, 200, core_set())` stands for."""
    return expression("acquisition", text, more).make({})


def dataset(text: str, more: Names = NONE) -> Dataset:
    """The checked data set that a text such as `repeated(mnist, 3)` stands for."""
    return data.check(expression("data", text, more).make({}))


def posterior(
    text: str,
    dataset: Dataset,
    network: str = "auto",
    training: str = "adam",
    likelihood: str = "auto",
    more: Names = NONE,
) -> tuple[Posterior, Likelihood]:
    """The posterior that a text stands for, over networks for this data set, and its likelihood."""
    made, loss = recipe(text, dataset, network, training, likelihood, more)
    return at(made, UNSWEPT), loss


def recipe(
    text: str,
    dataset: Dataset,
    network: str = "auto",
    training: str = "adam",
    likelihood: str = "auto",
    more: Names = NONE,
    swept: Collection[str] = (),
) -> tuple[Recipe, Likelihood]:
    """`posterior`, or with `swept` names of numbers a function of these that makes it.

    They are taken for the parameters of that name that the texts of posterior, network and training leave open; the
    function's ValueError says when there is none.
    """
    loss = expression("likelihood", likelihood, more).make(of_data(dataset))
    if loss.outputs is None and dataset.num_classes is None:
        raise ValueError(f"likelihood={likelihood!r} is of classes, and {dataset.name} is a regression: expected auto")
    if loss.outputs is not None and dataset.num_classes is not None:
        raise ValueError(f"likelihood={likelihood!r} is of numbers, and {dataset.name} has classes: expected auto")
    of_training, of_network = expression("training", training, more), expression("network", network, more)
    of_posterior = expression("posterior", text, more)
    given = {**of_data(dataset), "num_classes": lambda _: loss.outputs or dataset.num_classes}

    def of(**values: Any) -> Posterior:
        used = set[str]()

        def taken(name: str) -> Callable[[Any], Any]:
            def take(_: Any) -> Any:
                used.add(name)
                return values[name]

            return take

        numbers = {name: taken(name) for name in values}
        trained = of_training.make(numbers)

        def module(metadata: tuple[Any, ...]) -> nn.Module:
            wanted = {name: (lambda _, value=value: value) for options in metadata for name, value in options.items()}
            return of_network.make({**given, **wanted, **numbers})

        bound = {"module": module, "likelihood": lambda _: loss, "training": lambda _: trained}
        made = of_posterior.make({**numbers, **bound})
        if unused := values.keys() - used:
            raise ValueError(
                f"sweep has {min(unused)}: expected a number that posterior={text!r}, network={network!r} or "
                f"training={training!r} takes and does not give"
            )
        return made

    return (of if swept else of()), loss


def of_data(dataset: Dataset) -> Bound:
    """What networks and likelihoods take from the data: its shape, and mean and deviation of inputs and labels."""

    def mean(_: Any) -> float:
        return float(np.asarray(dataset.inputs).mean())

    def std(_: Any) -> float:
        return float(np.asarray(dataset.inputs).std()) or 1.0

    return {
        "num_classes": lambda _: dataset.num_classes,
        "shape": lambda _: np.asarray(dataset.inputs).shape[1:],
        "mean": mean,
        "std": std,
        "shift": lambda _: float(dataset.labels.mean()),
        "scale": lambda _: float(dataset.labels.std()) or 1.0,
    }


def imported(path: str | Path) -> Names:
    """The public functions and classes of a Python file, or of a module by its dotted name, as further names.

    ValueError when there is no such file or module, when it cannot be imported, or a name in it is one of the package.
    """
    module = load_module(str(path))
    public = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    own = {n: vars(module)[n] for n in public if getattr(vars(module)[n], "__module__", None) == module.__name__}
    taken = {name for kind in SOURCES for name in names(kind)}
    if both := sorted(own.keys() & taken):
        raise ValueError(f"import={str(path)!r}: {both[0]} is a name of al_jax already; expected another")
    return Names(tuple((name, thing) for name, thing in own.items() if callable(thing)))


def load_module(path: str) -> ModuleType:
    """Import a file by its path, or a module by its name."""
    try:
        if not path.endswith(".py"):
            return importlib.import_module(path)
        file = Path(path).expanduser()
        name = file.stem
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:  # whatever the user's file does
        said = " ".join(f"{type(error).__name__}: {error}".splitlines())
        raise ValueError(f"import={path!r} cannot be imported ({said}): expected a Python file or module") from error


def with_names(*several: Names | Mapping[str, Any]) -> Names:
    """All names together."""
    pairs = [item.more if isinstance(item, Names) else tuple(item.items()) for item in several]
    return Names(tuple(pair for part in pairs for pair in part))
