"""The reproduced papers as `report` shows them: which arms and quantities go into which table."""

from experiments.published.gal2017 import GAL2017
from experiments.published.kirsch2019 import KIRSCH2019
from experiments.recipes import beluch2018, gal2017, kirsch2019
from experiments.reproduction.comparison import Paper, Part, Quantity


def quantities(thresholds: tuple[float, ...], counts: tuple[int, ...]) -> tuple[Quantity, ...]:
    """Labels to the accuracies, then accuracies at the label counts."""
    return (*(Quantity("labels", at) for at in thresholds), *(Quantity("accuracy", at) for at in counts))


SATURATION, EPOCHS = Quantity("saturation", 0), Quantity("epochs", 0)
GAL = Paper(
    name="gal2017",
    cited="Gal et al. 2017",
    title="Gal, Islam & Ghahramani 2017, Deep Bayesian Active Learning with Image Data",
    note=(
        "MNIST from 20 labels, 10 more a round. The authors' runs are those of their scripts for this setting; the "
        "paper's Table 1 belongs to runs that begin with 100 labels. Their Mean STD was computed over one repeated "
        "sample, which is random acquisition: `mean_std_2017` does the same, `mean_std` is the correct score, of which "
        "they have no runs. `det_...`: acquired with dropout off; but for entropy their scores are then constant, and "
        "acquisition is random. Accuracy is that of the network without dropout. Preset cpu: as the paper, to 300 "
        "labels."
    ),
    study=gal2017.Gal2017,
    recipe=gal2017.recipe,
    arms=gal2017.ARMS,
    published=GAL2017 | {"bald_fresh_masks": GAL2017["bald"]},
    parts=(
        Part("MC dropout", tuple(gal2017.ARMS)[:7], (quantities((0.9, 0.95), (100, 200, 300, 1000)),)),
        Part("Without a posterior", tuple(gal2017.ARMS)[7:], (quantities((0.9, 0.95), (100, 200, 300, 1000)),)),
    ),
)
KIRSCH = Paper(
    name="kirsch2019",
    cited="Kirsch et al. 2019",
    title="Kirsch, van Amersfoort & Gal 2019, BatchBALD",
    note=(
        "From 20 labels (EMNIST: none) to 300. The paper's Table 1 counts the labels before the batch that reached "
        "the accuracy, b less than here. The authors' runs ended at 96 % accuracy (Repeated MNIST: 95 %), so that "
        "theirs have no accuracy beyond. I / log K: information of a whole batch over all that K posterior samples "
        "can tell apart, median over the rounds; near 1 the last rows of a batch are chosen by noise, and above 1 the "
        "estimate is noise. The authors' training code changed between their runs, which their repository does not "
        "explain: Repeated MNIST's BatchBALD, BALD and Random trained 4.8 to 7 epochs a round; their later runs, with "
        "2 and 5 copies instead of 3 and the same settings, 8.4 to 10.6, as ours do, and they need fewer labels. Not "
        "in the paper: K = 10 and 1000 samples instead of 100, and batches drawn in proportion to BALD "
        "(`power_bald_b10`; Kirsch et al. 2023). Preset cpu: on MNIST 10 000 random rows of the pool are "
        "offered a round, accuracy is the mean of 20 samples (K = 10: of 10), and BatchBALD has 10 000 "
        "configurations; Repeated MNIST has 10 000 images before they are repeated, and 10 rows a round for random, "
        "too (paper: 5); EMNIST 5 000 rows offered."
    ),
    study=kirsch2019.Kirsch2019,
    recipe=kirsch2019.recipe,
    arms=kirsch2019.ARMS,
    published=KIRSCH2019,
    parts=(
        Part(
            "MNIST",
            ("batchbald_b5", "batchbald_b10", "batchbald_b40", "bald_b1", "bald_b10", "bald_b10_k20", "bald_b40_k20"),
            ((*quantities((0.9, 0.95), (100, 150, 200, 250)), SATURATION, EPOCHS),),
        ),
        Part(
            "MNIST, not in the paper",
            ("batchbald_b10_k10", "batchbald_b10_k1000", "power_bald_b10"),
            ((*quantities((0.9, 0.95), (100, 150, 200, 250)), SATURATION),),
        ),
        Part(
            "Repeated MNIST",
            tuple(arm for arm in kirsch2019.ARMS if arm.startswith("repeated_")),
            ((*quantities((0.9, 0.95), (100, 150, 200, 250)), SATURATION, EPOCHS),),
        ),
        Part(
            "Repeated MNIST with 2 and 5 copies",
            tuple(arm for arm in kirsch2019.ARMS if arm.startswith(("repeated2", "repeated5"))),
            ((*quantities((0.9, 0.95), (100, 150, 200, 250)), SATURATION, EPOCHS),),
        ),
        Part(
            "EMNIST Balanced",
            tuple(arm for arm in kirsch2019.ARMS if arm.startswith("emnist")),
            ((*quantities((0.4, 0.45), (100, 150, 200, 250)), SATURATION, EPOCHS),),
        ),
    ),
)


def calibration(*counts: int) -> tuple[Quantity, ...]:
    """NLL, ECE and Brier score at the label counts."""
    return tuple(Quantity(metric, at) for metric in ("nll", "ece", "brier") for at in counts)


BELUCH = Paper(
    name="beluch2018",
    cited="Beluch et al. 2018",
    title="Beluch et al. 2018, The Power of Ensembles for Active Learning in Image Classification",
    note=(
        "An ensemble of 5 networks (`ens`) against MC dropout with 25 passes (`mc`); `debal`: Pop & Fulop 2018, 3 "
        "networks with 100 passes each. No runs of the authors are at hand, and nothing is inside or outside: to be "
        "compared is an order, ensembles above MC dropout above random, and better calibrated. The 90 % with 12 200 "
        "labels of the abstract are DenseNet's on CIFAR-10, which is not reproduced. Preset cpu: MNIST to 300 labels, "
        "CIFAR-10 to 3 000 with 5 000 rows offered a round."
    ),
    study=beluch2018.Beluch2018,
    recipe=beluch2018.recipe,
    arms=beluch2018.ARMS,
    published={},
    parts=(
        Part(
            "MNIST",
            tuple(arm for arm in beluch2018.ARMS if not arm.startswith("cifar")),
            (quantities((0.9, 0.95), (100, 200, 300, 1000)), calibration(100, 300)),
            ("accuracy", "nll", "ece", "brier"),
        ),
        Part(
            "CIFAR-10",
            tuple(arm for arm in beluch2018.ARMS if arm.startswith("cifar")),
            (quantities((0.6, 0.7), (1000, 3000, 9800)), calibration(3000)),
            ("accuracy", "nll", "ece", "brier"),
        ),
    ),
)
PAPERS = (GAL, KIRSCH, BELUCH)
