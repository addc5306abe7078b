"""Acquisition functions: pointwise scores, the combinators that lift them, and methods that choose whole batches."""

from al_jax.acquisitions.acquire import acquire
from al_jax.acquisitions.combinators.aggregate import aggregate
from al_jax.acquisitions.combinators.borda import borda
from al_jax.acquisitions.combinators.mixture import mixture
from al_jax.acquisitions.combinators.multi_label import multi_label
from al_jax.acquisitions.combinators.per_class_quota import per_class_quota
from al_jax.acquisitions.combinators.subset import subset
from al_jax.acquisitions.combinators.sum_of import sum_of
from al_jax.acquisitions.combinators.switch import switch
from al_jax.acquisitions.draws.batchbald import batchbald
from al_jax.acquisitions.draws.epig import epig
from al_jax.acquisitions.features.angle_diversity import angle_diversity
from al_jax.acquisitions.features.cdal import cdal
from al_jax.acquisitions.features.core_set import core_set
from al_jax.acquisitions.features.falcun import falcun
from al_jax.acquisitions.features.information_density import information_density
from al_jax.acquisitions.gradients.egl import egl
from al_jax.acquisitions.gradients.gradient_norm import gradient_norm
from al_jax.acquisitions.inputs.deepfool import deepfool
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
    "aggregate",
    "angle_diversity",
    "bald",
    "batchbald",
    "borda",
    "cdal",
    "core_set",
    "deepfool",
    "egl",
    "entropy",
    "epig",
    "falcun",
    "gaussian_bald",
    "gaussian_information_gain",
    "gradient_norm",
    "information_density",
    "least_confidence",
    "margin",
    "mean_kl",
    "mean_std",
    "mixture",
    "multi_label",
    "per_class_quota",
    "prefilter",
    "random",
    "stochastic_top_k",
    "subset",
    "sum_of",
    "switch",
    "top_k",
    "variance",
    "variation_ratio",
    "vote_entropy",
]
