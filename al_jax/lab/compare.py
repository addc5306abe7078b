"""Compare acquisitions over paired seeds, with baselines that were run before."""

from collections.abc import Mapping

import jax
import numpy as np

from al_jax import campaign
from al_jax.acquisitions import top_k
from al_jax.campaign import store
from al_jax.lab import recorded, stored
from al_jax.lab.check import CheckError, check_usable, explained
from al_jax.lab.comparison import Comparison, compared
from al_jax.lab.recorded import Ready, Recorded
from al_jax.lab.show import progress
from al_jax.lab.tasks import Task
from al_jax.types import Acquisition, ScoreFn


def compare(methods: Mapping[str, ScoreFn | Acquisition], seeds: int = 8, task: str | Task = "digits") -> Comparison:
    """Run campaigns of `methods` on a task, and compare them with random, entropy, BALD and BatchBALD.

    Every method starts from the same initial rows and networks, seed by seed, and is one compiled program. The
    baselines' campaigns are stored on disk (`al_jax.lab.stored`): the first comparison on a task takes a few minutes,
    later ones run only `methods`. A baseline's run that was killed is continued.

    Args:
      methods: by name, scores `log_probs [..., K, C] -> [...]` and whole acquisitions; may be empty.
      seeds: S, at least 2 for an interval; 6 and more give intervals that hold at all budgets at once.
      task: a name of `lab.TASKS`, or a `Task` of your own.

    CheckError, before anything is run, when a method cannot work (see `check_usable`). ValueError for an unknown task,
    a name that a baseline has, fewer than 2 seeds. RuntimeError when all seeds of a method diverge.
    """
    acquisitions = lifted(methods)
    if seeds < 2:
        raise ValueError(f"seeds={seeds}: expected at least 2, since one difference has no interval")
    recorded.start()
    ready = recorded.ready(task, seeds)
    for name, method in methods.items():
        if not isinstance(method, Acquisition):
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
    return compared(ready, baselines | acquisitions, runs, [*methods])


def lifted(methods: Mapping[str, ScoreFn | Acquisition]) -> dict[str, Acquisition]:
    """Scores as acquisitions of the B best rows; ValueError unless they are named, and not like a baseline."""
    if not isinstance(methods, Mapping):
        raise ValueError(f'methods is a {type(methods).__name__}: expected names, such as {{"mine": my_score}}')
    for name in methods:
        if not isinstance(name, str) or not name or name in stored.BASELINES:
            taken = ", ".join(stored.BASELINES)
            raise ValueError(
                f"methods has the name {name!r}: expected a text other than those of the baselines, {taken}"
            )
    return {name: m if isinstance(m, Acquisition) else top_k(m) for name, m in methods.items()}


def check_traces(ready: Ready, name: str, acquisition: Acquisition) -> None:
    """CheckError unless a round with this acquisition can be traced; nothing is computed."""
    if not isinstance(acquisition, Acquisition):
        raise CheckError(f"{name} is a {type(acquisition).__name__}: expected a score or an Acquisition")
    dataset = ready.dataset
    rows = np.zeros(ready.settings.initial_labels, np.int32)
    try:
        functions = campaign.programs(ready.posterior, acquisition, ready.settings)
        state = jax.eval_shape(functions.init, jax.random.key(0), dataset.inputs, rows, dataset.labels[rows])
        jax.eval_shape(functions.propose, state, dataset.inputs, *recorded.splits(dataset))
    except Exception as error:  # whatever the user's functions do
        raise explained(name, error, Acquisition.__doc__ or "") from None


def check_scores(name: str, run: Recorded) -> None:
    """CheckError when acquired rows had NaN for a score; RuntimeError when no seed ended a round."""
    rounds, acquired = run.campaign.rounds, run.campaign.acquired
    if rounds.empty:
        raise RuntimeError(f"{name}: every seed was stopped. {next(iter(run.campaign.stopped.values()), '')}")
    wrong = acquired[acquired["score"].isna()]
    if len(wrong):
        case = wrong.iloc[0]
        raise CheckError(
            f"{name} is NaN for row {case['row']} of the pool (seed {case['seed']}, round {case['round']}), and for "
            "all rows that were left to pick: al_jax.information has entropies that take log 0"
        )
