"""Compare acquisitions over paired seeds, with baselines that were run before."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import jax
import numpy as np

from al_jax import campaign, vocabulary
from al_jax.acquisitions import top_k
from al_jax.campaign import store
from al_jax.lab import recorded, stored
from al_jax.lab.check import CheckError, check_usable, explained
from al_jax.lab.comparison import Comparison, compared
from al_jax.lab.comparisons import Comparisons
from al_jax.lab.recorded import Ready, Recorded
from al_jax.lab.show import progress
from al_jax.lab.tasks import Task
from al_jax.sweep import Sweep, settings_of
from al_jax.types import Acquisition, ScoreFn

Method: TypeAlias = str | ScoreFn | Acquisition
"""An expression such as `prefilter(bald, 200, core_set())`, a score, or a whole acquisition."""


def compare(
    methods: Mapping[str, Method] | Sequence[str | ScoreFn],
    seeds: int = 8,
    task: str | Task = "digits",
    sweep: Sweep | None = None,
) -> Comparison | Comparisons:
    """Run campaigns of `methods` on a task, and compare them with random, entropy, BALD and BatchBALD.

    Every method starts from the same initial rows and networks, seed by seed, and is one compiled program. The
    baselines' campaigns are stored on disk (`al_jax.lab.stored`): the first comparison on a task takes a few minutes,
    later ones run only `methods`. A baseline's run that was killed is continued.

    Args:
      methods: expressions, scores `log_probs [..., K, C] -> [...]` and whole acquisitions by name; or a list of
        expressions and scores, which name themselves: `["core_set", "prefilter(bald, 200, core_set())", mine]`. May be
        empty; a baseline in the list is there anyway.
      seeds: S, at least 2 for an interval; 6 and more give intervals that hold at all budgets at once.
      task: a name of `lab.TASKS`, or a `Task` of your own.
      sweep: numbers of the task's posterior to try, in all combinations and in the same program:
        `{"learning_rate": [3e-4, 1e-3], "dropout": [0.25, 0.5]}`. The answer is then a `Comparison` for each setting.

    CheckError, before anything is run, when a method cannot work (see `check_usable`). ValueError for an unknown task,
    a name that a baseline has, fewer than 2 seeds. RuntimeError when all seeds of a method diverge.
    """
    given = named(methods)
    acquisitions = lifted(given)
    if seeds < 2:
        raise ValueError(f"seeds={seeds}: expected at least 2, since one difference has no interval")
    recorded.start()
    ready = recorded.ready(task, seeds, sweep)
    for name, method in given.items():
        if not isinstance(method, str | Acquisition):
            check_usable(method, name)
        check_traces(ready, name, acquisitions[name])
    runs: dict[str, Recorded] = {}
    baselines = {name: make() for name, make in stored.BASELINES.items()}
    configs = {name: stored.configuration(ready, name, baseline) for name, baseline in baselines.items()}
    missing = [name for name in baselines if not store.finished(stored.folder_of(configs[name]))]
    if missing:
        which = ", ".join(missing)
        print(f"Running {which} on {ready.name!r} too, which may take a few minutes: they are stored for next time.")
    with progress() as (console, report):
        for name in baselines:
            runs[name] = stored.baseline(ready, name, console, report, configs[name])
            check_scores(name, runs[name])
        for name, acquisition in acquisitions.items():
            runs[name] = recorded.in_memory(ready, acquisition, name, console, report)
            check_scores(name, runs[name])
    settings = settings_of(ready.posterior, sweep)
    if not sweep:
        return compared(ready, baselines | acquisitions, runs, [*given])

    def of(values: dict[str, float]) -> Comparison:
        alone = {name: run._replace(campaign=run.campaign.at(**values)) for name, run in runs.items()}
        return compared(ready, baselines | acquisitions, alone, [*given], values)

    return Comparisons(tuple(of(values) for values in settings))


def named(methods: Mapping[str, Method] | Sequence[str | ScoreFn]) -> dict[str, Method]:
    """The methods by name: of an expression its canonical text, of a score the function's.

    ValueError for what has no name of its own, a name that is given twice, and, in a mapping, one that a baseline has.
    """
    taken = ", ".join(stored.BASELINES)
    if isinstance(methods, Mapping):
        for name in methods:
            if not isinstance(name, str) or not name or name in stored.BASELINES:
                raise ValueError(
                    f"methods has the name {name!r}: expected a text other than those of the baselines, {taken}"
                )
        return dict(methods)
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise ValueError(
            f'methods is a {type(methods).__name__}: expected a list such as ["core_set", my_score], or names, '
            'such as {"mine": my_score}'
        )
    found: dict[str, Method] = {}
    for method in methods:
        if isinstance(method, str):
            name = vocabulary.expression("acquisition", method).text
        else:
            name = getattr(method, "__name__", "<lambda>")
            if name == "<lambda>" or name in stored.BASELINES:
                raise ValueError(f'methods has {name}, a {type(method).__name__}: give it a name, {{"mine": ...}}')
        if name in found:
            raise ValueError(f"methods has {name} twice")
        if name not in stored.BASELINES:
            found[name] = method
    return found


def lifted(methods: Mapping[str, Method]) -> dict[str, Acquisition]:
    """Expressions read, and scores as acquisitions of the B best rows; ExpressionError for a text that is wrong."""

    def one(method: Method) -> Acquisition:
        if isinstance(method, str):
            return vocabulary.acquisition(method)
        return method if isinstance(method, Acquisition) else top_k(method)

    return {name: one(method) for name, method in methods.items()}


def check_traces(ready: Ready, name: str, acquisition: Acquisition) -> None:
    """CheckError unless a round with this acquisition can be traced; nothing is computed."""
    if not isinstance(acquisition, Acquisition):
        raise CheckError(f"{name} is a {type(acquisition).__name__}: expected a score or an Acquisition")
    dataset = ready.dataset
    rows = np.zeros(ready.settings.initial_labels, np.int32)
    try:
        functions = campaign.programs(ready.posterior, acquisition, ready.settings)
        state = recorded.abstract_state(ready, functions, rows)
        jax.eval_shape(functions.propose, state, dataset.inputs, *recorded.splits(dataset))
    except Exception as error:  # whatever the user's functions do
        raise explained(name, error, Acquisition.__doc__ or "") from None


def check_scores(name: str, run: Recorded) -> None:
    """CheckError when acquired rows had NaN for a score; `Diverged` when every seed was stopped."""
    acquired = run.campaign.acquired.query("round >= 0")
    campaign.refuse_all_stopped(run.campaign, name)
    wrong = acquired[acquired["score"].isna()]
    if len(wrong):
        case = wrong.iloc[0]
        raise CheckError(
            f"{name} is NaN for row {case['row']} of the pool (seed {case['seed']}, round {case['round']}), and for "
            "all rows that were left to pick: al_jax.information has entropies that take log 0"
        )
