"""Four acquisition functions on scikit-learn's digits, 8 paired seeds, 20 to 220 labels, in about a minute.

MC dropout on an MLP of two hidden layers; random, max entropy, mean STD and BALD. Nothing is downloaded.

python -m experiments.quickstart
"""

import dataclasses

import pandas as pd

from al_jax.campaign import store
from experiments import runner
from experiments.config import Config
from experiments.dry_run import print_costs
from experiments.runner import console


@dataclasses.dataclass(frozen=True)
class Quickstart:
    """The comparison: the same campaign once for each acquisition function, over the same seeds."""

    acquisitions: tuple[str, ...] = ("random", "entropy", "mean_std", "bald")
    """Acquisition functions to compare; `random` is the baseline of the paired differences."""
    base: Config = Config()

    def config(self, name: str) -> Config:
        """The campaign of one acquisition function."""
        return dataclasses.replace(self.base, acquisition=dataclasses.replace(self.base.acquisition, acquisition=name))


def main() -> None:
    """Run or continue the campaigns one after the other, then print and draw their comparison."""
    experiment, options = runner.command_line(Quickstart, "quickstart", __doc__, runner.RunOptions)
    if options.dry_run:
        for name in experiment.acquisitions:
            print_costs(experiment.config(name))
        return
    plain = dataclasses.asdict(experiment)
    directory = (options.results_dir / "quickstart" / store.fingerprint(plain)).absolute()
    if store.finished(directory):
        store.check_config(directory, plain)
        console.print("this run is finished: its stored results are shown")
    else:
        for name in experiment.acquisitions:
            runner.build(experiment.config(name))
        store.claim(directory, plain, resume=options.resume, allow_inexact=options.allow_inexact)
    inner = dataclasses.replace(options, resume=True)  # the folder above was refused if it had to be
    done = {
        name: runner.run_config(experiment.config(name), directory / name, inner) for name in experiment.acquisitions
    }
    base = experiment.base
    rounds, stopped = runner.present(done, directory, f"{base.posterior.posterior} on {base.data.dataset}")
    store.write_table(directory / "rounds.csv", rounds)
    store.write_table(directory / "acquired.csv", pd.concat([c.acquired for c in done.values()], ignore_index=True))
    store.write_json(directory / "summary.json", {"stopped": stopped})


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
