"""One campaign as texts and numbers: everything that its results depend on."""

import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

import al_jax
from al_jax import vocabulary
from al_jax.campaign import Settings
from al_jax.data import Dataset
from al_jax.sweep import Recipe, Sweep
from al_jax.training import Training
from al_jax.types import Acquisition, Likelihood
from al_jax.vocabulary import Names
from experiments import as_published

KINDS = ("data", "network", "posterior", "acquisition", "training", "likelihood")
AS_PUBLISHED = vocabulary.with_names(
    {f.__name__: f for f in (as_published.mean_std_2017, as_published.mc_dropout_fresh_masks)}
)
"""Names beyond the package's: mistakes of published code, for recipes that repeat them."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What to run. The first six are expressions: names of the library, with arguments where they are not the default.

    Quote brackets in a shell: --acquisition 'prefilter(bald, 200, core_set())'. --list prints all names.
    """

    data: str = "digits"
    """The data set, and what is done to its pool: mnist, 'repeated(mnist, 3)', 'uci("concrete")'."""
    network: str = "auto"
    """auto chooses by the rows; 'mlp(hidden=(64, 64))', gal_cnn, 'batchbald_cnn(dropout=0.25)'."""
    posterior: str = "mc_dropout"
    """Over the network's functions: 'ensemble(point, 5)', laplace, 'variational(prior_std=0.5)'."""
    acquisition: str = "bald"
    """A score, whose best rows are taken, or a method that chooses batches: 'batchbald(1000)'."""
    training: str = "adam"
    """Optimiser, budget and the rest: 'adam(1e-3), epochs=50, minibatch_size=128, early_stopping(3)'."""
    likelihood: str = "auto"
    """auto is categorical where there are classes, and else gaussian; 'auto(noise=0.5)'."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Python files (or modules) whose public functions may be named, too."""
    settings: Settings = Settings()
    sweep: tuple[str, ...] = ()
    """Numbers to try in one program, all combinations: learning_rate=1e-4,3e-4,1e-3 dropout=0.1,0.25."""


class Built(NamedTuple):
    """What `campaign.run` needs."""

    dataset: Dataset
    posterior: Recipe  # with a sweep, a function of its numbers
    likelihood: Likelihood
    acquisition: Acquisition
    training: Training
    sweep: Sweep


def changed(experiment: Experiment, **fields: Any) -> Experiment:
    """The experiment with other `fields`, its own or those of its settings. TypeError for a name that neither has."""
    own = {f.name for f in dataclasses.fields(experiment)}
    of_settings = {name: value for name, value in fields.items() if name not in own}
    settings = dataclasses.replace(fields.get("settings", experiment.settings), **of_settings)
    return dataclasses.replace(experiment, **{n: v for n, v in fields.items() if n in own} | {"settings": settings})


@functools.cache
def names(imports: tuple[str, ...]) -> Names:
    """Names beyond the package's."""
    return vocabulary.with_names(AS_PUBLISHED, *map(vocabulary.imported, imports))


def texts(experiment: Experiment) -> dict[str, str]:
    """The six expressions in canonical form; ExpressionError for the first that cannot be read."""
    more = names(experiment.imports)
    return {kind: vocabulary.expression(kind, getattr(experiment, kind), more).text for kind in KINDS}


def recipe(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON has it: canonical texts, settings, and the hashes of imported files."""
    written = texts(experiment)  # refuses imports that are no files
    hashes = {path: _hash(path) for path in experiment.imports}
    plain = {**written, "imports": hashes, "settings": dataclasses.asdict(experiment.settings)}
    swept = {"sweep": swept_numbers(experiment)} if experiment.sweep else {}
    return json.loads(json.dumps(plain | swept))


def identity(experiment: Experiment) -> dict[str, Any]:
    """What names a run and its folder: the recipe and al_jax's version."""
    return {**recipe(experiment), "al_jax": al_jax.__version__}


def from_recipe(stored: dict[str, Any]) -> Experiment:
    """The experiment that `recipe` or `identity` wrote down."""
    fields = {kind: stored[kind] for kind in KINDS if kind in stored}
    imports = tuple(stored.get("imports", {}))
    swept = tuple(f"{name}={','.join(map(repr, numbers))}" for name, numbers in stored.get("sweep", {}).items())
    return Experiment(**fields, imports=imports, settings=Settings(**stored["settings"]), sweep=swept)


def swept_numbers(experiment: Experiment) -> dict[str, tuple[float, ...]]:
    """The numbers of `sweep` by name; ValueError for a text that is not name=number,number."""
    found: dict[str, tuple[float, ...]] = {}
    for text in experiment.sweep:
        name, _, numbers = text.partition("=")
        try:
            found_here = tuple(map(float, numbers.split(",")))
        except ValueError:
            found_here = ()
        if not name.isidentifier() or not found_here or name in found:
            raise ValueError(f"sweep={text!r}: expected a name once, and its numbers: learning_rate=1e-4,3e-4,1e-3")
        found[name] = found_here
    return found


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest() if path.endswith(".py") else "module"


@functools.lru_cache(maxsize=4)
def build(experiment: Experiment) -> Built:
    """Make everything; ValueError names the text and the place that is wrong, before anything is compiled."""
    more = names(experiment.imports)
    written = texts(experiment)
    joint = re.search(r"\b(batchbald|epig)\b", written["acquisition"])
    if joint and "mc_dropout_fresh_masks" in written["posterior"]:
        raise ValueError(
            f"posterior={experiment.posterior!r}: expected mc_dropout, since {joint.group()} asks what several rows "
            "say together, and fresh masks make them independent"
        )
    acquisition = vocabulary.acquisition(experiment.acquisition, more)
    training = vocabulary.expression("training", experiment.training, more).make({})
    dataset, swept = load(written["data"], more), swept_numbers(experiment)
    posterior, likelihood = vocabulary.recipe(
        experiment.posterior, dataset, experiment.network, experiment.training, experiment.likelihood, more, swept
    )
    return Built(dataset, posterior, likelihood, acquisition, training, swept)


@functools.lru_cache(maxsize=2)
def load(text: str, more: Names) -> Dataset:
    """The data set of a canonical text; the last ones are remembered."""
    return vocabulary.dataset(text, more)
