"""What is compared: for each question a baseline and what should beat it, as expressions."""

from pathlib import Path
from typing import Any, NamedTuple

from experiments.experiment import Experiment, changed

RESULTS = Path(__file__).parent.parent / "results" / "unlabelled"
SEEDS = 8
IMAGES: dict[str, Any] = {
    **{"data": "mnist", "network": "lenet(dropout=0.1)", "posterior": "mc_dropout", "pool_subset": 2000},
    **{"initial_labels": 10, "batch_size": 10, "max_labels": 40, "num_samples": 20, "test_samples": 10},
}
VECTORS: dict[str, Any] = {
    **{"data": "self_supervised(mnist, steps=1000)", "network": "mlp(hidden=(128,), dropout=0.25)"},
    **{"posterior": "mc_dropout", "training": "adam(1e-3), steps=200", "pool_subset": 2000, "balanced": False},
    **{"initial_labels": 0, "batch_size": 10, "max_labels": 40, "num_samples": 20},
}
PLAIN = "adam(1e-3), steps=500"
LATER: dict[str, Any] = IMAGES | {"training": PLAIN, "initial_labels": 20, "batch_size": 20, "max_labels": 120}
"""More labels, for what must learn from them which rows are hard."""


class Arm(NamedTuple):
    """A campaign, by its name in tables and as a file."""

    name: str
    fields: dict[str, Any]


class Question(NamedTuple):
    """A baseline and the arms that are compared with it, at so many labels and by the whole curve."""

    text: str
    baseline: Arm
    arms: tuple[Arm, ...]
    labels: tuple[int, ...]


def on_images(name: str, acquisition: str, training: str = PLAIN) -> Arm:
    """An arm on MNIST's images."""
    return Arm(name, IMAGES | {"acquisition": acquisition, "training": training})


def on_vectors(name: str, acquisition: str) -> Arm:
    """An arm on vectors of an encoder."""
    return Arm(name, VECTORS | {"acquisition": acquisition})


def later(name: str, posterior: str, acquisition: str = "random", **fields: Any) -> Arm:
    """An arm on MNIST's images with more labels."""
    return Arm(name, LATER | {"posterior": posterior, "acquisition": acquisition} | fields)


RANDOM, FIXMATCH = on_images("random", "random"), on_images("fixmatch", "random", f"fixmatch, {PLAIN}")
QUESTIONS = (
    Question(
        "Does an objective of unlabelled rows help, with random labels?",
        RANDOM,
        (
            FIXMATCH,
            on_images("mean_teacher", "random", f"consistency('mean_teacher'), {PLAIN}"),
            on_images("pi", "random", f"consistency, {PLAIN}"),
            on_images("mean_teacher_weight_1", "random", f"consistency('mean_teacher', weight=1.0), {PLAIN}"),
            on_images("pi_weight_1", "random", f"consistency(weight=1.0), {PLAIN}"),
            on_images("pseudo_labels", "random", f"pseudo_labels, {PLAIN}"),
            on_images("entropy_minimisation", "random", f"entropy_minimisation, {PLAIN}"),
            on_images("mixup", "random", f"mixup, {PLAIN}"),
        ),
        (10, 20, 40),
    ),
    Question(
        "Does active learning help a network that is trained on labelled rows alone?",
        RANDOM,
        tuple(on_images(method, method) for method in ("margin", "bald", "typiclust")),
        (20, 40),
    ),
    Question(
        "Does active learning still help beside FixMatch?",
        FIXMATCH,
        tuple(on_images(f"fixmatch_{m}", m, f"fixmatch, {PLAIN}") for m in ("margin", "bald", "typiclust")),
        (20, 40),
    ),
    Question(
        "What do methods gain on vectors of a self-supervised encoder, from a cold start?",
        on_vectors("simclr_random", "random"),
        tuple(on_vectors(f"simclr_{m}", m) for m in ("typiclust", "prob_cover", "max_herding", "margin", "bald")),
        (10, 20, 40),
    ),
    Question(
        "Do learned acquisitions gain on random rows? Each beside random rows under the posterior that it trains",
        later("point_random", "point"),
        (
            later("loss_prediction_random", "loss_prediction"),
            later("loss_prediction", "loss_prediction", "loss_prediction"),
            later("vaal", "point", "vaal"),
            later("ta_vaal", "loss_prediction", "ta_vaal"),
            later("waal_random", "waal"),
            later("waal", "waal", "waal"),
            later("point_margin", "point", "margin"),
        ),
        (40, 80, 120),
    ),
    Question(
        "Should a round begin with the network of the last one?",
        later("fresh", "mc_dropout"),
        (
            later("warm_start", "mc_dropout", warm_start=True),
            later("shrink_and_perturb", "shrink_and_perturb(mc_dropout)", warm_start=True),
            later("warm_start_margin", "mc_dropout", "margin", warm_start=True),
            later("fresh_margin", "mc_dropout", "margin"),
        ),
        (40, 80, 120),
    ),
)


def arms() -> list[Arm]:
    """All of them, each once."""
    found = [arm for question in QUESTIONS for arm in (question.baseline, *question.arms)]
    return list({arm.name: arm for arm in found}.values())


def experiment_of(arm: Arm, seeds: int) -> Experiment:
    """The campaign of an arm."""
    return changed(Experiment(), seeds=seeds, **arm.fields)
