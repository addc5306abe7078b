"""Four acquisition functions on scikit-learn's digits, 8 paired seeds, 20 to 220 labels, in about a minute.

MC dropout on an MLP of two hidden layers; random, max entropy, mean STD and BALD. Nothing is downloaded.

python -m experiments.quickstart
"""

import dataclasses

import pandas as pd

from al_jax.campaign import store
from experiments import runner
from experiments.dry_run import print_costs
from experiments.experiment import Experiment, changed, identity
from experiments.runner import console


@dataclasses.dataclass(frozen=True)
class Quickstart:
    """The comparison: the same campaign once for each acquisition function, over the same seeds."""

    acquisitions: tuple[str, ...] = ("random", "entropy", "mean_std", "bald")
    """Acquisition functions to compare; `random` is the baseline of the paired differences."""
    base: Experiment = Experiment()

    def experiment(self, name: str) -> Experiment:
        """The campaign of one acquisition function."""
        return changed(self.base, acquisition=name)


def main() -> None:
    """Run or continue the campaigns one after the other, then print and draw their comparison."""
    comparison, options = runner.command_line(Quickstart, "quickstart", __doc__, runner.RunOptions)
    if options.dry_run:
        for name in comparison.acquisitions:
            print_costs(comparison.experiment(name))
        return
    plain = {name: identity(comparison.experiment(name)) for name in comparison.acquisitions}
    directory = (options.results_dir / "quickstart" / store.fingerprint(plain)).absolute()
    if store.finished(directory):
        store.check_config(directory, plain)
        console.print("this run is finished: its stored results are shown")
    else:
        for name in comparison.acquisitions:
            runner.build(comparison.experiment(name))
        store.claim(directory, plain, resume=options.resume, allow_inexact=options.allow_inexact)
    inner = dataclasses.replace(options, resume=True)  # the folder above was refused if it had to be
    done = {}
    for name in comparison.acquisitions:
        done[name] = runner.run_experiment(comparison.experiment(name), directory / name, inner)
    base = comparison.base
    rounds, stopped = runner.present(done, directory, f"{base.posterior} on {base.data}")
    store.write_table(directory / "rounds.csv", rounds)
    store.write_table(directory / "acquired.csv", pd.concat([c.acquired for c in done.values()], ignore_index=True))
    store.write_json(directory / "summary.json", {"stopped": stopped})
    runner.refuse_all_stopped(done)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
