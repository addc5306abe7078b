"""One row for every public name: a new score, acquisition, posterior, network or data set adds its own here.

The laws, the command line and `test_vocabulary` run over these tables; a public name without a row fails a test.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """What a score's values are bounded by, for K samples and C classes."""

    low: float
    high: Callable[[int, int], float]


SCORES = {
    "entropy": Score(0, lambda k, c: np.log(c)),
    "least_confidence": Score(-1e-6, lambda k, c: 1 - 1 / c),
    "margin": Score(-1 - 1e-6, lambda k, c: 0.0),
    "bald": Score(0, lambda k, c: np.log(min(k, c))),
    "mean_kl": Score(0, lambda k, c: np.log(min(k, c))),
    "mean_std": Score(0, lambda k, c: 0.5),
    "mclu": Score(-np.inf, lambda k, c: 0.0),
    "variation_ratio": Score(0, lambda k, c: 1 - 1 / c),
    "vote_entropy": Score(-1e-6, lambda k, c: np.log(c)),
}

REGRESSION = {"variance", "gaussian_bald", "gaussian_information_gain"}
"""Of `GaussianPredictions`; their closed forms are in `acquisitions/test_regression.py`."""


class Method(NamedTuple):
    """An acquisition as small as the laws allow, what it reads of a round, and a posterior that gives it."""

    text: str
    needs: tuple[str, ...]
    posterior: str = "mc_dropout"


ACQUISITIONS = {
    "random": Method("random", ("nothing",)),
    "top_k": Method("top_k(bald)", ("draws",)),
    "stochastic_top_k": Method("stochastic_top_k(bald, 'power')", ("draws",)),
    "stochastic_top_k softmax": Method("stochastic_top_k(entropy, 'softmax', 8)", ("draws",)),
    "stochastic_top_k softrank": Method("stochastic_top_k(margin, 'softrank')", ("draws",)),
    "core_set": Method("core_set", ("features", "labelled features")),
    "farthest_first": Method(
        "farthest_first('gradients')", ("draws", "features", "labelled draws", "labelled features")
    ),
    "k_dpp": Method("k_dpp", ("draws", "features")),
    "k_means": Method("k_means", ("features",)),
    "weighted_k_means": Method("weighted_k_means(factor=2)", ("draws", "features")),
    "clue": Method("clue", ("draws", "features")),
    "cluster_margin": Method("cluster_margin(clusters=4, factor=2)", ("draws", "features")),
    "k_medoids": Method("k_medoids", ("features",)),
    "mclu_ecbd": Method("mclu_ecbd(factor=2)", ("draws", "features")),
    "robust_core_set": Method("robust_core_set(0.1)", ("features", "labelled features")),
    "graph_density": Method("graph_density(3)", ("features", "labelled features")),
    "drop_query": Method("drop_query", ("point", "features", "last layer")),
    "pre_clustering": Method("pre_clustering(5)", ("draws", "features")),
    "dal": Method("dal(2, 20)", ("features", "labelled features")),
    "loss_prediction": Method("loss_prediction", ("extras",), "loss_prediction"),
    "vaal": Method("vaal(2, 5, 8)", ("pool",)),
    "ta_vaal": Method("ta_vaal(2, 5, 8)", ("extras", "pool"), "loss_prediction"),
    "waal": Method("waal", ("draws", "extras"), "waal"),
    "mutual_information": Method(
        "mutual_information('flqmi', classes=(0, 1), representation='features')", ("features", "labelled features")
    ),
    "mutual_information flcg": Method(
        "mutual_information('flcg', representation='probabilities')", ("draws", "labelled draws")
    ),
    "mutual_information logdetcmi": Method(
        "mutual_information('logdetcmi', classes=(1,), representation='probabilities')", ("draws", "labelled draws")
    ),
    "max_herding": Method("max_herding", ("features", "labelled features")),
    "u_herding": Method("u_herding(entropy)", ("draws", "features", "labelled features")),
    "prob_cover": Method("prob_cover(clusters=3)", ("features", "labelled features")),
    "suggestive": Method("suggestive(entropy, 30)", ("draws", "features")),
    "typiclust": Method("typiclust", ("features", "labelled features")),
    "badge": Method("badge", ("draws", "features")),
    "badge uniform": Method("badge('uniform')", ("draws", "features")),
    "kernel_kmeans_plus_plus": Method("kernel_kmeans_plus_plus('draws')", ("draws", "labelled draws")),
    "lcmd": Method("lcmd", ("draws", "features", "labelled draws", "labelled features")),
    "max_det": Method("max_det('probabilities')", ("draws", "labelled draws")),
    "bait": Method("bait", ("draws", "features", "labelled draws", "labelled features")),
    "kernel_bait": Method("kernel_bait('probabilities')", ("draws", "labelled draws")),
    "kernel_frank_wolfe": Method("kernel_frank_wolfe", ("features",)),
    "acs_fw": Method("acs_fw", ("draws",)),
    "batchbald": Method("batchbald(27)", ("draws",)),
    "core_log": Method("core_log(4)", ("draws", "memory of the pool")),
    "core_mse": Method("core_mse(4)", ("draws", "memory of the pool")),
    "eer": Method("eer(4)", ("draws", "memory of the pool")),
    "emoc": Method("emoc(4)", ("draws", "memory of the pool")),
    "mocu": Method("mocu(4)", ("draws", "memory of the pool")),
    "wmocu": Method("wmocu(4)", ("draws", "memory of the pool")),
    "variance_reduction": Method("variance_reduction(4)", ("draws", "memory of the pool")),
    "epig": Method("epig(4)", ("draws", "memory of the pool")),
    "prefilter": Method("prefilter(entropy, 10, core_set)", ("features", "labelled features")),
    "mixture": Method(
        "mixture(bald, core_set, random, shares=(0.5, 0.3, 0.2))", ("draws", "features", "labelled features")
    ),
    "switch": Method("switch(3, epig(4), core_set)", ("draws", "features", "labelled features", "memory of the pool")),
    "switch early": Method("switch(4, bald, batchbald(27))", ("draws",)),
    "borda": Method("borda(bald, entropy, epig(4))", ("draws", "memory of the pool")),
    "sum_of": Method("sum_of(bald, margin, weights=(1.0, 0.5))", ("draws",)),
    "subset": Method("subset(core_set, 10)", ("features", "labelled features")),
    "per_class_quota": Method("per_class_quota(bald)", ("draws",)),
    "per_class_quota batches": Method("per_class_quota(core_set)", ("draws", "features", "labelled features")),
    "aggregate": Method("aggregate(bald, by='max')", ("draws",)),
    "multi_label": Method("prefilter(multi_label(entropy), 10, top_k(multi_label(bald)))", ("draws",)),
    "egl": Method("egl", ("draws", "features")),
    "gradient_norm": Method("gradient_norm('entropy', bias=True)", ("draws", "features")),
    "deepfool": Method("deepfool(10)", ("point",)),
    "information_density": Method("information_density(bald)", ("draws", "features")),
    "falcun": Method("falcun(4)", ("draws",)),
    "cdal": Method("cdal", ("draws", "labelled draws")),
    "angle_diversity": Method("angle_diversity(entropy)", ("draws", "features")),
}

POSTERIORS = {
    "point": "point",
    "mc_dropout": "mc_dropout",
    "variational": "variational",
    "ensemble": "ensemble(point, 3)",
    "debal": "ensemble(mc_dropout, 3)",
    "svi": "svi",
    "swag": "swag(snapshots=4, steps=2, rank=3)",
    "laplace": "laplace",
    "evidential": "evidential",
    "loss_prediction": "loss_prediction",
    "waal": "waal",
    "dpe": "dpe(members=2)",
    "sngp": "sngp(random_features=16)",
    "sgld": "sgld(burn_in=4, thinning=2, draws=4)",
    "cyclical_sghmc": "cyclical_sghmc(cycles=2, steps=10, draws=2)",
    "snapshot_ensemble": "snapshot_ensemble(members=3, steps=5)",
    "shrink_and_perturb": "shrink_and_perturb(mc_dropout)",
    "nuts_last_layer": "nuts_last_layer(warmup=8, draws=4)",
    "nuts": "nuts(chains=2, warmup=8, draws=4, max_tree_depth=4)",
}

NETWORKS = {
    "auto": ("auto", (8, 8, 1)),
    "mlp": ("mlp(hidden=(8,))", (2,)),
    "gal_cnn": ("gal_cnn", (10, 9, 1)),
    "batchbald_cnn": ("batchbald_cnn", (16, 17, 1)),
    "emnist_cnn": ("emnist_cnn", (14, 14, 2)),
    "keras_cnn": ("keras_cnn", (10, 10, 3)),
    "lenet": ("lenet", (16, 16, 3)),
    "resnet18": ("resnet18(width=4)", (16, 16, 3)),
}
"""And the shape of a row."""

DATA = {
    "digits": "digits",
    "two_moons": "two_moons(size=50, test_size=20)",
    "diabetes": "diabetes",
    "imbalanced": "imbalanced(digits, 0.1, (0, 1))",
    "noisy_labels": "noisy_labels(digits, 0.2)",
    "repeated": "repeated(digits, 2)",
    "subset": "subset(digits, 100)",
    "with_initial": "with_initial(digits, (5, 3))",
    "with_validation": "with_validation(digits, 100)",
    "without_copies": "without_copies(digits)",
    "fewer_test_rows": "fewer_test_rows(digits, 100)",
    "self_supervised": "self_supervised(subset(digits, 60), steps=2, minibatch_size=4)",
}
FROM_FILES = {"embedded", "pretrained"}
"""Names that read a file: their laws are in `acquisitions/test_embedded.py` and `posteriors/test_pretrained.py`."""
PREPARED = {"mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped", "tfds", "uci", "features"}
"""Data from files: read in `data/test_tfds.py` and `data/test_tabular.py`."""
