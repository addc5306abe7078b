"""How good is a posterior? Approximations of one target against the closed form or long runs of NUTS.

The target is the same for all: N(0, prior_std^2) on every weight and bias, temperature 1, the same labels, and K draws.
Only what each can express differs:

- point, ensemble: networks at modes of the target, where the negative log posterior is least; K = 1 and 5.
- mc_dropout, debal: with the same L2 penalty, but their target is another one. A linear model has nothing to drop.
- variational, svi_normal, svi_low_rank: a Gaussian over all weights that maximises the evidence lower bound.
- laplace_full, _kron, _diag: a Gaussian over the last layer alone, on the features of `point`.
- nuts_last_layer: samples that layer's posterior; in a linear model, which is all last layer, the target itself.
- nuts: samples the target in a short run.
- swag, sgld, cyclical_sghmc: draws around and along a walk of the network, with the same prior.
- snapshot_ensemble: networks at the ends of five cycles of one walk.
- dpe, sngp: have priors of their own, He's over the members and a Gaussian process on features; no approximation of
  this target, and judged all the same.
- reference: K random draws of a long run, independent of the run that judges. Of a short run the draws are spread more
  evenly than at random, so that `nuts` may come closer.

python -m experiments.posterior_quality
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import tyro
from jaxtyping import Array, Int
from rich.console import Console

from al_jax import results
from al_jax.campaign import store
from al_jax.engine import parallel
from al_jax.engine.compiled import full_buffer
from al_jax.errors import unknown
from al_jax.types import Data, PRNGKey
from experiments import runner
from experiments.posterior_quality import figure
from experiments.posterior_quality.measures import Beliefs, beliefs, compare, exact_beliefs
from experiments.posterior_quality.references import (
    POSTERIORS,
    PRESETS,
    TASKS,
    Problem,
    Sizes,
    Task,
    applies,
    build,
    exact_weights,
    joint_rows,
)
from experiments.posterior_quality.tables import MEASURES, formatted, summarised

console = Console(width=max(140, Console().width))
LARGEST_R_HAT = 1.05
ORDER = ("reference", *POSTERIORS)  # of the keys, whatever is chosen
JUDGE = 1000  # and that of the judge


@dataclasses.dataclass(frozen=True)
class PosteriorQuality:
    """What to compare."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """linear, softmax, two_moons, digits."""
    posteriors: tuple[str, ...] = POSTERIORS
    """Beside the reference, which is always there."""
    preset: Literal["default", "smoke"] = "default"
    """default takes minutes on two cores; smoke, with short references, only shows that everything runs."""
    seeds: int | None = None
    """Problems a task (other labels, other keys); None: as many as the preset has."""

    def sizes(self) -> Sizes:
        """The preset's, with these seeds; ValueError names what is unknown or impossible."""
        for kind, names, known in (("tasks", self.tasks, TASKS), ("posteriors", self.posteriors, POSTERIORS)):
            for name in names:
                if name not in known:
                    raise unknown(kind, name, known)
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"seeds={self.seeds}: expected at least 1")
        sizes = PRESETS[self.preset]
        return sizes if self.seeds is None else dataclasses.replace(sizes, seeds=self.seeds)


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run; the measures but for the seconds do not depend on it."""

    results_dir: Path = Path("results")
    """Where results go: RESULTS_DIR/posterior_quality/<hash of the configuration>/."""
    resume: bool = False
    """Continue an unfinished run: tasks that were finished are kept."""


class Programs(NamedTuple):
    """A posterior compiled for a task: `fit(key, data) -> (state, info)`, `predict(key, state, x) -> predictions`."""

    fit: Callable[..., Any]
    predict: Callable[..., Any]
    predict_all: Callable[..., Any]  # with all draws of a reference
    compile_seconds: float


def compiled(names: Sequence[str], task: Task, sizes: Sizes) -> dict[str, Programs]:
    """Compile once for all seeds: data and keys are arguments. Side by side, since this is what takes the time."""

    def compile_one(parts: list[Any]) -> Programs:
        began = time.perf_counter()
        fit, *predict = [part.compile() for part in parts]
        return Programs(fit, predict[0], predict[-1], time.perf_counter() - began)

    # Tracing stays in one thread: numpyro keeps a stack of handlers.
    lowered = [_lowered(name, task, sizes) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(names, threads.map(compile_one, lowered), strict=True))


def _lowered(name: str, task: Task, sizes: Sizes) -> list[Any]:
    """What `Programs` has, before it is compiled."""
    posterior, problem, key = build(name, task, sizes), task.problem(0, sizes), jax.random.key(0)

    def fit(key: PRNGKey, data: Data) -> Any:
        init_key, fit_key = jax.random.split(key)
        return posterior.fit(fit_key, posterior.init(init_key, data.labelled.inputs), data)

    def predict(num_samples: int, key: PRNGKey, state: Any, x: Array) -> Any:
        return posterior.predict(state, posterior.sample(key, state, num_samples), x)

    traced = jax.jit(fit).trace(key, labelled(problem))
    state, _ = traced.out_info
    counts = (sizes.samples, sizes.chains * sizes.draws) if name == "reference" else (sizes.samples,)
    predicting = [jax.jit(functools.partial(predict, count)) for count in counts]
    return [traced.lower(), *(part.lower(key, state, judged_rows(problem)) for part in predicting)]


def labelled(problem: Problem) -> Data:
    """The labelled rows, on the device."""
    return Data(jax.tree.map(jnp.asarray, full_buffer(problem.inputs, problem.labels)))


def judged_rows(problem: Problem) -> Array:
    """Test rows, then pool rows."""
    return jnp.asarray(np.concatenate([problem.test_inputs, problem.pool]))


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """The result when it is there, and the seconds until then."""
    began = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - began


def run_task(task_name: str, names: Sequence[str], sizes: Sizes) -> tuple[pd.DataFrame, figure.Surfaces]:
    """A row of measures for every posterior and seed, and what the first seed says in the plane, if it is one."""
    task, table = TASKS[task_name], []
    surfaces = figure.Surfaces({}, {}, task.problem(0, sizes))
    wanted = [name for name in ("reference", *names) if applies(name, task)]
    programs = compiled([name for name in wanted if not (task.regression and name == "reference")], task, sizes)
    for seed in range(sizes.seeds):
        problem, key = task.problem(seed, sizes), jax.random.key(seed)
        rows, x, data = joint_rows(seed, problem, sizes), judged_rows(problem), labelled(problem)
        judge, seen = _judge(task, programs, key, problem, rows)
        first: dict[str, Any] = {"task": task_name, "posterior": "judge", "seed": seed}
        table.append(first | compare(judge, judge, sizes.top) | diagnosed(seen, task_name, "judge", seed))
        for name in wanted:
            fit_key, sample_key = jax.random.split(jax.random.fold_in(key, ORDER.index(name)))
            row, info = first | {"posterior": name}, dict[str, Array]()
            if name in programs:
                program = programs[name]
                (state, info), row["fit_seconds"] = timed(program.fit, fit_key, data)
                predicted, row["predict_seconds"] = timed(program.predict, sample_key, state, x)
                row["compile_seconds"] = program.compile_seconds
                if seed == 0 and x.shape[1:] == (2,):
                    at = functools.partial(program.predict, sample_key, state)
                    surfaces.values[name] = figure.on_grid(at, problem, len(x))
            else:
                predicted = exact_weights(problem, task.prior_std).draws(seed, sizes.samples, np.asarray(x))
            row["samples"] = jax.tree.leaves(predicted.samples)[0].shape[1]
            found = compare(beliefs(task, predicted, problem, rows), judge, sizes.top)
            table.append(row | found | diagnosed(info, task_name, name, seed))
    done = pd.DataFrame(table).reindex(columns=["task", "posterior", "seed", "samples", *MEASURES])
    ranks = done[done["seed"] == 0].set_index("posterior")["bald_rank"]
    return done, surfaces._replace(ranks=ranks.to_dict())


def _judge(
    task: Task, programs: dict[str, Programs], key: PRNGKey, problem: Problem, rows: Int[np.ndarray, "batches tau"]
) -> tuple[Beliefs, dict[str, Array]]:
    """The closed form, or all draws of a long run of NUTS with its report."""
    if task.regression:
        return exact_beliefs(task, problem, rows), {}
    fit_key, sample_key = jax.random.split(jax.random.fold_in(key, JUDGE))
    state, info = programs["reference"].fit(fit_key, labelled(problem))
    predicted = programs["reference"].predict_all(sample_key, state, judged_rows(problem))
    return beliefs(task, predicted, problem, rows), info


def diagnosed(info: dict[str, Array], task: str, name: str, seed: int) -> dict[str, float]:
    """R-hat and divergences of a sampler; what cannot be trusted is said."""
    if not bool(info.get("finite", True)):
        console.print(f"[yellow]warning:[/] {task}, {name}, seed {seed}: the fit is not finite")
    if "r_hat" not in info:
        return {}
    r_hat = float(info["r_hat"])
    if name in ("judge", "reference") and not r_hat <= LARGEST_R_HAT:
        console.print(
            f"[yellow]warning:[/] {task}, {name}, seed {seed}: R-hat of the outputs is {r_hat:.3f}, above "
            f"{LARGEST_R_HAT}: its chains do not agree, and what is measured against them is not to be trusted"
        )
    return {"r_hat": r_hat, "divergences": float(info["divergences"])}


def run(experiment: PosteriorQuality, directory: Path) -> pd.DataFrame:
    """Run the tasks that the folder lacks, draw two moons, and write table.csv, summary.csv and their summary."""
    sizes, tables = experiment.sizes(), []
    for name in experiment.tasks:
        file = directory / f"{name}.csv"
        if not file.exists():
            began = time.perf_counter()
            done, surfaces = run_task(name, experiment.posteriors, sizes)
            if surfaces.values:
                figure.figure(surfaces, TASKS[name].title).savefig(directory / f"{name}.png")
            store.write_table(file, done)
            ran = done[["fit_seconds", "predict_seconds"]].sum(axis=None)
            took = time.perf_counter() - began
            console.print(f"{name}: {took:.0f} s, of which {ran:.0f} s fits and predictions", highlight=False)
        tables.append(store.read_table(file))
    table = pd.concat(tables, ignore_index=True)
    store.write_table(directory / "table.csv", table)
    store.write_table(directory / "summary.csv", summarised(table))
    store.write_json(directory / "summary.json", {"seeds": sizes.seeds})
    return table


def main() -> None:
    """Run, or show what was run."""
    unnamed = tyro.conf.arg(name="")
    chosen: tuple[PosteriorQuality, Options] = tyro.cli(
        tuple[Annotated[PosteriorQuality, unnamed], Annotated[Options, unnamed]],
        prog="python -m experiments.posterior_quality",
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    experiment, options = chosen[0], runner.expanded(chosen[1])
    sizes = experiment.sizes()
    plain = dataclasses.asdict(experiment) | {"sizes": dataclasses.asdict(sizes)}
    directory = (options.results_dir / "posterior_quality" / store.fingerprint(plain)).absolute()
    began = time.perf_counter()
    if store.finished(directory):
        store.check_config(directory, plain)
        console.print("this run is finished: its stored results are shown")
        table = store.read_table(directory / "table.csv")
    else:
        store.claim(directory, plain, resume=options.resume, allow_inexact=True)
        table = run(experiment, directory)
        console.print(f"{time.perf_counter() - began:.0f} s in all", highlight=False)
    summary = summarised(table)
    for name in experiment.tasks:
        columns, note = formatted(summary, name, sizes)
        console.print(results.text_table(columns, TASKS[name].title, note))
    console.print(f"results: {directory}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    parallel.enable_compilation_cache()
    runner.guarded(main)
