"""Any active-learning campaign from the command line, in the words of the library.

python -m experiments.run --data digits --posterior mc_dropout --acquisition bald --seeds 3 --max-labels 120
python -m experiments.run --acquisition 'prefilter(bald, 200, core_set())' --posterior 'ensemble(point, 5)'
python -m experiments.run --list
"""

import dataclasses

from al_jax.campaign import store
from experiments import runner
from experiments.dry_run import print_costs
from experiments.experiment import Experiment, identity
from experiments.listing import print_names
from experiments.runner import console


@dataclasses.dataclass(frozen=True)
class Options(runner.RunOptions):
    """How to run; results do not depend on it."""

    list: bool = False
    """Print every name that expressions may use, what it is, where it comes from and what it needs."""


def main() -> None:
    """Parse the command line, run or continue the campaign, print its table."""
    experiment, options = runner.command_line(Experiment, "run", __doc__, Options)
    if options.list:
        print_names(experiment.imports)
        return
    if options.dry_run:
        print_costs(experiment)
        return
    plain = identity(experiment)
    directory = (options.results_dir / "run" / store.fingerprint(plain)).absolute()
    if store.finished(directory):
        console.print("this run is finished: its stored results are shown")
    done = runner.run_experiment(experiment, directory, options)
    title = f"{plain['posterior']} + {plain['acquisition']} on {plain['data']}"
    runner.present({plain["acquisition"]: done}, directory, title)
    runner.refuse_all_stopped({plain["acquisition"]: done})


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
