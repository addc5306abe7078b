"""Any deep Bayesian active-learning campaign from the command line.

python -m experiments.dbal --dataset digits --acquisition bald --posterior mc_dropout --seeds 3 --max-labels 120
"""

import dataclasses

from al_jax.campaign import store
from experiments import runner
from experiments.config import Config
from experiments.dry_run import print_costs
from experiments.runner import console


def main() -> None:
    """Parse the command line, run or continue the campaign, print its table."""
    config, options = runner.command_line(Config, "dbal", __doc__, runner.RunOptions)
    if options.dry_run:
        print_costs(config)
        return
    directory = (options.results_dir / "dbal" / store.fingerprint(dataclasses.asdict(config))).absolute()
    if store.finished(directory):
        console.print("this run is finished: its stored results are shown")
    done = runner.run_config(config, directory, options)
    name = config.acquisition.acquisition
    runner.present({name: done}, directory, f"{config.posterior.posterior} + {name} on {config.data.dataset}")


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
