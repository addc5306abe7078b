"""Beluch et al. 2018, "The Power of Ensembles for Active Learning in Image Classification": MNIST and CIFAR-10.

What is reproduced: the uncertainty of an ensemble of 5 networks (ens_...) against that of MC dropout with 25 passes
(mc_...), each with variation ratio, entropy, BALD and random acquisition, on MNIST from 20 labels and on CIFAR-10 from
200 (cifar_ens_..., cifar_mc_...); accuracy and calibration (NLL, ECE, Brier score) along the curve. And what Pop &
Fulop 2018 made of the two, DEBAL, an ensemble of 3 MC-dropout networks with 100 passes each (debal_..., MNIST; not with
random acquisition). Arms: ens_variation_ratio, ens_entropy, ens_bald, ens_random, mc_variation_ratio, ...

Published: "CIFAR-10, on which we achieve a test set accuracy of 90 % with roughly 12,200 labeled images" [abstract],
with DenseNet, which is not reproduced here; 5 members and 25 passes [a summary of the paper, vitalab]. Its figures'
numbers were not at hand, and no official code was found. What can be compared is an order: variation ratio with an
ensemble above variation ratio with MC dropout above random; ensembles better calibrated [abstract, two surveys].

From memory, unverified: MNIST with the network of Gal et al. 2017 ("S-CNN"), 20 labels and 10 more a round; CIFAR-10
with Keras' example network ("K-CNN", dropout 0.25, 0.25, 0.5), 200 labels and 400 more a round to about 10 000; 5
repeats; DEBAL's sizes.

Choices made here:
- MNIST: training, the weight decay included, the pool and its 2 000 random rows a round as in `gal2017`; the metrics
  are of the mean over members or passes.
- CIFAR-10: inputs scaled to [0, 1], Adam with its default step size, 100 epochs of minibatches of 32, no augmentation,
  the whole pool, which begins with equally many images of each class.
- The members of an ensemble are trained with dropout and predict without.

--preset cpu: MNIST ends at 300 labels; CIFAR-10 at 3000, and 5 000 random rows of the pool are offered a round.
--preset smoke, to test the code: 2 rounds on 300 rows of digits with a tiny MLP, 5 epochs, 2 members and 4 passes.
Cost: on 2 CPU cores estimated an hour a seed for an ensemble to 300 labels and a fifth of it for MC dropout; CIFAR-10
needs a GPU.

python -m experiments.recipes.beluch2018 --preset cpu --arms ens_variation_ratio mc_variation_ratio mc_random --seeds 3
"""

import dataclasses
from typing import Any

from experiments import runner
from experiments.experiment import Experiment, changed
from experiments.recipes import gal2017
from experiments.reproduction import study
from experiments.reproduction.study import Study, StudyOptions

MNIST = changed(gal2017.RECIPE, evaluate="samples")
CIFAR = changed(
    MNIST,
    data="cifar10",
    network="keras_cnn(dropout=0.5, mean=0, std=255)",
    training="adam, epochs=100",
    initial_labels=200,
    batch_size=400,
    max_labels=9800,
    pool_subset=None,
)
ENSEMBLE: dict[str, Any] = {"posterior": "ensemble(point, 5)", "num_samples": 5}
DROPOUT: dict[str, Any] = {"posterior": "mc_dropout", "num_samples": 25}
PARTS = {
    "ens": changed(MNIST, **ENSEMBLE),
    "mc": changed(MNIST, **DROPOUT),
    "debal": changed(MNIST, posterior="ensemble(mc_dropout, 3)", num_samples=300),
    "cifar_ens": changed(CIFAR, **ENSEMBLE),
    "cifar_mc": changed(CIFAR, **DROPOUT),
}
ARMS = {
    f"{part}_{acquisition}": changed(experiment, acquisition=acquisition)
    for part, experiment in PARTS.items()
    for acquisition in ("variation_ratio", "entropy", "bald", "random")
    if (part, acquisition) != ("debal", "random")
}
SMALL = {"ensemble(point, 5)": "ensemble(point, 2)", "ensemble(mc_dropout, 3)": "ensemble(mc_dropout, 2)"}
"""Posteriors of the preset smoke."""


@dataclasses.dataclass(frozen=True)
class Beluch2018(Study):
    """What to run."""

    arms: tuple[str, ...] = tuple(arm for arm in ARMS if not arm.startswith("cifar"))
    """See above; by default MNIST."""
    seeds: int = 5
    """How many seeds of each."""


def recipe(chosen: Study, arm: str) -> Experiment:
    """The campaign of an arm."""
    found, cifar = ARMS[arm], arm.startswith("cifar")
    if chosen.preset == "smoke":
        return changed(
            found,
            data="subset(digits, 300)",
            network="mlp(hidden=(8,), dropout=0.5, mean=0, std=16)",
            posterior=SMALL.get(found.posterior, found.posterior),
            training="adam, epochs=5" if cifar else gal2017.training(2.5, epochs=5),
            num_samples=4,
            initial_labels=20,
            batch_size=10,
            max_labels=30,
            pool_subset=100,
        )
    if chosen.preset == "cpu" and cifar:
        return changed(found, max_labels=3000, pool_subset=5000)
    return changed(found, max_labels=300) if chosen.preset == "cpu" else found


def main() -> None:
    """Parse the command line and run."""
    chosen, options = runner.command_line(Beluch2018, "recipes.beluch2018", __doc__, StudyOptions)
    study.run("beluch2018", chosen, ARMS, options, recipe)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
