"""What is compared: data sets, regimes, posteriors and acquisitions, all as expressions."""

import fnmatch
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.atlas.encoders import encoded, recipe
from experiments.experiment import Experiment, changed

RESULTS = Path(__file__).parent.parent / "results" / "atlas"


class Source(NamedTuple):
    """A data set: an expression, or an encoder whose vectors are the rows; its classes, and rows offered a round.

    A regression counts ten labels where others count one of each class.
    """

    data: str
    classes: int = 10
    encoder: str | None = None
    offered: int | None = None


SOURCES = {
    "digits": Source("digits"),
    "digits_repeated": Source("repeated(digits, 3)"),
    "digits_long_tail": Source("imbalanced(digits, 0.1, (0, 1, 2, 3, 4))"),
    "digits_noisy": Source("noisy_labels(digits, 0.2)"),
    **{
        name: Source(f"fewer_test_rows(self_supervised({name}, steps=1000), 2000)", offered=1000)
        for name in ("mnist", "fashion_mnist", "cifar10")
    },
    "cmaterdb_bangla": Source("self_supervised(tfds('cmaterdb/bangla'), steps=1000)", offered=1000),
    "trec": Source("trec", classes=6, encoder="latent_semantics", offered=1000),
    "concrete": Source("without_copies(uci('concrete'))"),
    "kin8nm": Source("uci('kin8nm')", offered=1000),
}
REGRESSIONS = ("concrete", "kin8nm")


class Regime(NamedTuple):
    """A budget, in multiples of the number of classes."""

    initial: int
    batch: int
    labels: int


REGIMES = {"low": Regime(1, 1, 10), "middle": Regime(2, 1, 22), "large": Regime(2, 4, 22)}
POSTERIORS = ("mc_dropout", "ensemble(point, 5)")
STEPS = 100
LEARNING_RATES, DROPOUTS = (3e-4, 1e-3, 3e-3, 1e-2), (0.1, 0.25, 0.5)
"""What `tuning` chooses from, for every data set and posterior."""
BASELINE = "random"
ACQUISITIONS = (
    *(BASELINE, "entropy", "least_confidence", "margin", "mean_std", "variation_ratio", "vote_entropy", "bald"),
    *("stochastic_top_k(bald)", "batchbald(1000)", "acs_fw", "epig(200)", "eer(200)", "emoc(200)", "core_mse(200)"),
    *("egl", "gradient_norm", "badge", "kernel_kmeans_plus_plus", "lcmd", "max_det", "farthest_first('gradients')"),
    *("core_set", "k_dpp", "k_means", "weighted_k_means", "clue", "cluster_margin", "typiclust", "prob_cover"),
    *("max_herding", "u_herding(entropy)", "suggestive(entropy, 200)", "information_density(entropy)"),
    *("falcun", "cdal", "mclu", "mclu_ecbd", "k_medoids", "robust_core_set(0.01)", "graph_density", "dal", "vaal"),
    *("mutual_information", "prefilter(entropy, 300, bait)", "kernel_bait", "kernel_frank_wolfe"),
    *("drop_query", "pre_clustering", "wmocu(200)", "angle_diversity(entropy)"),
    *("borda(entropy, bald)", "mixture(bald, random, shares=(0.8, 0.2))", "switch(60, typiclust, badge)"),
    *("per_class_quota(bald)", "prefilter(entropy, 200, badge)"),
)
OF_REGRESSIONS = (
    *(BASELINE, "bald", "stochastic_top_k(bald)", "epig(200)", "variance_reduction(200)", "core_set", "k_means"),
    *("k_medoids", "typiclust", "prob_cover", "max_herding", "u_herding(variance)", "graph_density", "dal"),
    *("robust_core_set(0.01)", "kernel_bait", "kernel_frank_wolfe", "drop_query", "lcmd('features')"),
    *("max_det('features')", "farthest_first('features')", "kernel_kmeans_plus_plus('features')"),
    *("mixture(bald, random, shares=(0.8, 0.2))", "switch(60, typiclust, bald)"),
)
"""Acquisitions that read no class probabilities."""
SAME = {"core_log(200)": "epig(200)", "mean_kl": "bald"}
"""Arms that must coincide with others, run on the first data set alone."""
LEVEL = "subset(random, 500)"
"""Random by other numbers: it must be level with random."""


class Arm(NamedTuple):
    """One campaign over all seeds."""

    data: str
    regime: str
    posterior: str
    acquisition: str

    @property
    def name(self) -> str:
        """What `--only` looks at."""
        return "/".join(self)


class Setting(NamedTuple):
    """The numbers that `tuning` chose for a data set and a posterior."""

    learning_rate: float
    dropout: float


def arms(only: Sequence[str] = ("*",)) -> list[Arm]:
    """All arms whose names match one of the patterns; ValueError for a pattern that matches none."""
    first = Arm(next(iter(SOURCES)), "middle", POSTERIORS[0], "")
    found = [Arm(d, r, p, a) for d in SOURCES for r in REGIMES for p in POSTERIORS for a in acquisitions_of(d)]
    found += [first._replace(acquisition=a) for a in (*SAME, LEVEL)]
    for pattern in only:
        if not any(fnmatch.fnmatchcase(arm.name, pattern) for arm in found):
            raise ValueError(f"only={pattern!r} matches no arm: expected names such as {found[0].name}, with * for any")
    return [arm for arm in found if any(fnmatch.fnmatchcase(arm.name, pattern) for pattern in only)]


def acquisitions_of(data: str) -> tuple[str, ...]:
    """What is compared on a data set."""
    return OF_REGRESSIONS if data in REGRESSIONS else ACQUISITIONS


def metric_of(data: str) -> str:
    """What its curves keep."""
    return "rmse" if data in REGRESSIONS else "accuracy"


def experiment_of(arm: Arm, setting: Setting, seeds: int) -> Experiment:
    """The campaign of an arm; it encodes the rows where that has not been done yet."""
    source = SOURCES[arm.data]
    data = source.data
    if source.encoder is not None:
        data = f"without_copies(features({encoded(source.data, source.encoder)!r}))"
    return changed(Experiment(), seeds=seeds, data=data, **fields_of(arm, setting))


def fields_of(arm: Arm, setting: Setting) -> dict[str, Any]:
    """What an arm's campaign has beside its data and seeds."""
    source, regime = SOURCES[arm.data], REGIMES[arm.regime]
    return {
        "network": f"mlp(dropout={setting.dropout})",
        "posterior": arm.posterior,
        "training": f"adam({setting.learning_rate}), steps={STEPS}",
        "acquisition": arm.acquisition,
        "initial_labels": regime.initial * source.classes,
        "batch_size": regime.batch * source.classes,
        "max_labels": regime.labels * source.classes,
        "pool_subset": source.offered,
    }


def recipe_of(arm: Arm, setting: Setting) -> str:
    """A hash of all that an arm's curves depend on: kept curves of another one are not its own."""
    source = SOURCES[arm.data]
    of_data = source, source.encoder and recipe(source.encoder)
    return "r" + hashlib.sha256(repr((of_data, fields_of(arm, setting))).encode()).hexdigest()[:7]


def file_of(arm: Arm, results: Path = RESULTS) -> Path:
    """Where the curves of an arm are kept."""
    return results / arm.data / arm.regime / safe(arm.posterior) / f"{safe(arm.acquisition)}.csv"


def safe(text: str) -> str:
    """An expression as a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_")
