"""Acquisition functions: pointwise scores, the combinators that lift them, and methods that choose whole batches."""

from al_jax.acquisitions.acquire import acquire
from al_jax.acquisitions.combinators.aggregate import aggregate
from al_jax.acquisitions.combinators.borda import borda
from al_jax.acquisitions.combinators.embedded import embedded
from al_jax.acquisitions.combinators.mixture import mixture
from al_jax.acquisitions.combinators.multi_label import multi_label
from al_jax.acquisitions.combinators.per_class_quota import per_class_quota
from al_jax.acquisitions.combinators.subset import subset
from al_jax.acquisitions.combinators.sum_of import sum_of
from al_jax.acquisitions.combinators.switch import switch
from al_jax.acquisitions.draws.acs_fw import acs_fw
from al_jax.acquisitions.draws.batchbald import batchbald
from al_jax.acquisitions.draws.epig import epig
from al_jax.acquisitions.draws.expected_change import core_log, core_mse, eer, emoc, mocu, wmocu
from al_jax.acquisitions.draws.variance_reduction import variance_reduction
from al_jax.acquisitions.features.angle_diversity import angle_diversity
from al_jax.acquisitions.features.cdal import cdal
from al_jax.acquisitions.features.clue import clue
from al_jax.acquisitions.features.cluster_margin import cluster_margin
from al_jax.acquisitions.features.core_set import core_set
from al_jax.acquisitions.features.drop_query import drop_query
from al_jax.acquisitions.features.falcun import falcun
from al_jax.acquisitions.features.farthest_first import farthest_first
from al_jax.acquisitions.features.graph_density import graph_density
from al_jax.acquisitions.features.information_density import information_density
from al_jax.acquisitions.features.k_dpp import k_dpp
from al_jax.acquisitions.features.k_means import k_means
from al_jax.acquisitions.features.k_medoids import k_medoids
from al_jax.acquisitions.features.max_herding import max_herding
from al_jax.acquisitions.features.mclu import mclu, mclu_ecbd
from al_jax.acquisitions.features.mutual_information import mutual_information
from al_jax.acquisitions.features.pre_clustering import pre_clustering
from al_jax.acquisitions.features.prob_cover import prob_cover
from al_jax.acquisitions.features.robust_core_set import robust_core_set
from al_jax.acquisitions.features.suggestive import suggestive
from al_jax.acquisitions.features.typiclust import typiclust
from al_jax.acquisitions.features.u_herding import u_herding
from al_jax.acquisitions.features.weighted_k_means import weighted_k_means
from al_jax.acquisitions.gradients.badge import badge
from al_jax.acquisitions.gradients.bait import bait
from al_jax.acquisitions.gradients.egl import egl
from al_jax.acquisitions.gradients.gradient_norm import gradient_norm
from al_jax.acquisitions.gradients.kernel_bait import kernel_bait
from al_jax.acquisitions.gradients.kernel_frank_wolfe import kernel_frank_wolfe
from al_jax.acquisitions.gradients.kernel_kmeans_plus_plus import kernel_kmeans_plus_plus
from al_jax.acquisitions.gradients.lcmd import lcmd
from al_jax.acquisitions.gradients.max_det import max_det
from al_jax.acquisitions.inputs.deepfool import deepfool
from al_jax.acquisitions.learned.dal import dal
from al_jax.acquisitions.learned.loss_prediction import loss_prediction
from al_jax.acquisitions.learned.ta_vaal import ta_vaal
from al_jax.acquisitions.learned.vaal import vaal
from al_jax.acquisitions.learned.waal import waal
from al_jax.acquisitions.prefilter import prefilter
from al_jax.acquisitions.random import random
from al_jax.acquisitions.regression import gaussian_bald, gaussian_information_gain, variance
from al_jax.acquisitions.scores import (
    bald,
    entropy,
    least_confidence,
    margin,
    mean_kl,
    mean_std,
    variation_ratio,
    vote_entropy,
)
from al_jax.acquisitions.top_k import stochastic_top_k, top_k

__all__ = [
    "acquire",
    "acs_fw",
    "aggregate",
    "angle_diversity",
    "badge",
    "bait",
    "bald",
    "batchbald",
    "borda",
    "cdal",
    "clue",
    "cluster_margin",
    "core_log",
    "core_mse",
    "core_set",
    "dal",
    "deepfool",
    "drop_query",
    "eer",
    "egl",
    "embedded",
    "emoc",
    "entropy",
    "epig",
    "falcun",
    "farthest_first",
    "gaussian_bald",
    "gaussian_information_gain",
    "gradient_norm",
    "graph_density",
    "information_density",
    "k_dpp",
    "k_means",
    "k_medoids",
    "kernel_bait",
    "kernel_frank_wolfe",
    "kernel_kmeans_plus_plus",
    "lcmd",
    "least_confidence",
    "loss_prediction",
    "margin",
    "max_det",
    "max_herding",
    "mclu",
    "mclu_ecbd",
    "mean_kl",
    "mean_std",
    "mixture",
    "mocu",
    "multi_label",
    "mutual_information",
    "per_class_quota",
    "pre_clustering",
    "prefilter",
    "prob_cover",
    "random",
    "robust_core_set",
    "stochastic_top_k",
    "subset",
    "suggestive",
    "sum_of",
    "switch",
    "ta_vaal",
    "top_k",
    "typiclust",
    "u_herding",
    "vaal",
    "variance",
    "variance_reduction",
    "variation_ratio",
    "vote_entropy",
    "waal",
    "weighted_k_means",
    "wmocu",
]
