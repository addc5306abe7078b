"""What the authors of the reproduced papers measured, run by run: only numbers, from which `comparison` makes verdicts.

All are [LOGS]: recomputed from the result files in the authors' repositories, not copied from the papers, whose tables
count differently. Here labels are always counted in total, the initial ones included, when the accuracy was first met.

- Gal et al. 2017: github.com/Riashat/Active-Learning-Bayesian-Convolutional-Neural-Networks, .../Final_Experiments_Run/
  RESULTS ANALYSIS/All_Results_Values/*_Q10_N1000_Accuracy_Results_Experiment_*.npy: 20 labels, 10 more a round. The
  published Table 1 belongs to other runs, which begin with 100 labels (see `gal2017`).
- Kirsch et al. 2019: github.com/BlackHC/BatchBALD, laaos_results/paper/*.py. The published table counts the labels
  before the batch that met the accuracy: b less. Labels beyond 300 do not count (beyond 400 for bald_b40_k20). One log
  of bald_b1 holds a run that was begun again; the first attempt is left out. Runs that had met their target accuracy
  ended early: there are accuracies only at counts that all runs of an arm reached. repeated2 and repeated5 are later
  runs, for the rebuttal, with training code that had changed: see `epochs`.
- Beluch et al. 2018: no result files were found, and the paper's figures were not at hand.
"""

import math
from typing import NamedTuple

NEVER = math.inf


class Run(NamedTuple):
    """One of the authors' runs."""

    labels: tuple[float, ...]  # total labels at which it first met each of `Published.thresholds`
    accuracy: tuple[float, ...]  # on the test set, at each of `Published.counts`


class Published(NamedTuple):
    """The authors' runs of an arm."""

    runs: tuple[Run, ...]
    counts: tuple[int, ...] = (50, 100, 150, 200, 250, 290)  # total labels
    thresholds: tuple[float, ...] = (0.9, 0.95)  # accuracies
    budget: int = 300  # total labels up to which NEVER means never
    saturation: float | None = None  # median over rounds of I / log K of whole batches
    epochs: tuple[float, ...] = ()  # of training a round, mean over the rounds of each run
    evidence: str = "LOGS"

    def labels_to(self, threshold: float) -> tuple[float, ...]:
        """Of every run; ValueError when it is not among the thresholds."""
        return tuple(run.labels[self.thresholds.index(threshold)] for run in self.runs)

    def accuracy_at(self, count: int) -> tuple[float, ...]:
        """Of every run; ValueError when it is not among the counts."""
        return tuple(run.accuracy[self.counts.index(count)] for run in self.runs)
