"""The typed configuration that every experiment shares, and what is built from it."""

import dataclasses
import functools
import re
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jaxtyping import Array, Float
from numpyro.infer import autoguide

from al_jax import acquisitions, augmentation, models, posteriors
from al_jax.campaign import Settings
from al_jax.data import Dataset
from al_jax.errors import unknown
from al_jax.likelihood import categorical
from al_jax.training import Training, l2
from al_jax.types import Acquisition, Posterior
from experiments.datasets import DataConfig, expect, named
from experiments.datasets import build_dataset as build_dataset


def mean_std_2017(log_probs: Float[Array, "*n K C"]) -> Float[Array, "*n"]:
    """`mean_std` as in the scripts of Gal et al. 2017, of one sample K times: 0 for every row, so the batch is random.

    Computed in floating point it is 0 up to rounding; here it is exactly 0.
    """
    return jnp.zeros(log_probs.shape[:-2], log_probs.dtype)


SCORES = {
    score.__name__: score
    for score in (
        acquisitions.entropy,
        acquisitions.least_confidence,
        acquisitions.margin,
        acquisitions.bald,
        acquisitions.mean_std,
        acquisitions.variation_ratio,
        acquisitions.vote_entropy,
        mean_std_2017,
    )
} | {"mean_kl": acquisitions.mean_kl}
BATCH_METHODS = ("random", "core_set", "batchbald", "epig")
NETWORKS = {
    "gal_cnn": models.GalCNN,
    "batchbald_cnn": models.BatchBALDCNN,
    "emnist_cnn": models.EMNISTCNN,
    "keras_cnn": models.KerasCNN,
    "lenet": models.LeNet,
    "resnet18": models.ResNet18,
}
AUGMENTATIONS = {
    "none": None,
    "crop": augmentation.random_crop(),
    "crop_flip": augmentation.chain(augmentation.random_crop(), augmentation.random_flip()),
}
POSTERIORS = (
    "point",
    "mc_dropout",
    "variational",
    "ensemble",
    "debal",
    "svi",
    "laplace",
    "nuts_last_layer",
    "nuts",
)
GUIDES: dict[str, Any] = {
    "normal": functools.partial(autoguide.AutoNormal, init_scale=0.01),
    "low_rank": functools.partial(autoguide.AutoLowRankMultivariateNormal, init_scale=0.01),
    "delta": autoguide.AutoDelta,
}


@dataclasses.dataclass(frozen=True)
class AcquisitionConfig:
    """How a batch is chosen."""

    acquisition: str = "bald"
    """random, entropy, least_confidence, margin, bald, mean_std, variation_ratio, vote_entropy, mean_kl, core_set,
    batchbald, epig, or mean_std_2017: the mistake of Gal et al. 2017, which is random acquisition."""
    stochastic: Literal["power", "softmax", "softrank"] | None = None
    """Sample the batch by Gumbel top-k over a score instead of taking the best rows (Kirsch et al. 2023)."""
    coldness: float = 1.0
    """Inverse temperature of `stochastic`."""
    prefilter: int | None = None
    """Offer the acquisition only the rows with the highest `prefilter_score`, this many."""
    prefilter_score: str = "entropy"
    """A pointwise score, as in `acquisition`."""
    num_configurations: int = 10_000
    """Joint labels by which `batchbald` estimates; exact while all fit."""
    stop_when_saturated: bool = False
    """Fill `batchbald`'s batch by `fallback` once it carries 95 % of what K samples can tell apart."""
    fallback: Literal["stochastic_bald", "random"] = "stochastic_bald"
    """How."""
    num_targets: int = 200
    """Random pool rows whose predictions `epig` is to improve."""


@dataclasses.dataclass(frozen=True)
class PosteriorConfig:
    """The network and the posterior over its functions."""

    posterior: str = "mc_dropout"
    """point, mc_dropout, variational, ensemble (of points), debal (ensemble of MC-dropout networks), svi (a numpyro
    guide), laplace or nuts_last_layer (both of the last layer of a trained network), or nuts (the whole network)."""
    members: int = 5
    """Networks in `ensemble` and `debal`."""
    network: str = "auto"
    """mlp, gal_cnn, batchbald_cnn, emnist_cnn, keras_cnn, lenet or resnet18; auto: gal_cnn for grey images of at least
    16 pixels a side, lenet for colour ones, mlp for everything else."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of `mlp`."""
    dropout: float = 0.5
    """Largest dropout rate in the network; `variational`, `svi` and `nuts` use none."""
    prior_std: float = 0.3
    """Standard deviation of the Gaussian prior over weights, of `variational`, `svi`, `nuts` and, unless it is chosen
    by `evidence`, `laplace` and `nuts_last_layer`."""
    temperature: float = 0.1
    """Weight of the KL of `variational` and `svi`; below 1 is a cold posterior."""
    bayesian: Literal["all", "last"] = "all"
    """Which dense layers of `variational` are Bayesian; the others are point estimates."""
    guide: Literal["normal", "low_rank", "delta"] = "normal"
    """`svi`'s family: mean-field normal, normal with a covariance of low rank, or a point (maximum a posteriori)."""
    prior_of: str = ""
    """Regular expression searched in parameter paths such as Dense_0/kernel: `svi` is Bayesian in these alone."""
    evidence: bool = True
    """Choose the prior of `laplace` and `nuts_last_layer` in every fit, by marginal likelihood."""
    structure: Literal["full", "kron", "diag"] = "kron"
    """Of `laplace`'s Gauss-Newton matrix."""
    chains: int = 2
    """Chains of `nuts_last_layer` and `nuts`."""
    warmup: int = 100
    """Iterations of each chain that are thrown away."""
    draws: int = 50
    """Iterations of each chain that are kept."""
    mean: float | None = None
    """The network takes (x - mean) / std of the raw inputs x; None: the mean of the pool."""
    std: float | None = None
    """None: the standard deviation of the pool."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Training in every round, by Adam."""

    learning_rate: float = 1e-3
    """Adam's step size."""
    minibatch_size: int = 32
    """Rows in a minibatch."""
    steps: int | None = 300
    """Budget in optimiser steps; None when it is in epochs."""
    epochs: int | None = None
    """Budget in passes over the labelled rows, instead of `steps`."""
    weight_decay: float = 0.0
    """Coefficient of the summed squares of the parameters in `weight_decay_of`."""
    weight_decay_over_count: bool = False
    """Divide that coefficient by the number of labelled rows."""
    weight_decay_of: str = "kernel"
    """Regular expression searched in parameter paths such as Dense_0/kernel."""
    patience: int | None = None
    """Stop after so many evaluations on the validation set without a better one, and restore the best parameters."""
    evaluate_every: int | None = None
    """Steps between these evaluations; every epoch when the budget is in epochs."""
    monitor: Literal["nll", "accuracy"] = "nll"
    """What they compare."""
    augmentation: str = "none"
    """Of every minibatch of images: none, crop (moved by up to 4 pixels) or crop_flip (also mirrored)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of a training step's computations; parameters, losses, predictions and scores are float32."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One campaign: everything that its results depend on."""

    data: DataConfig = DataConfig()
    acquisition: AcquisitionConfig = AcquisitionConfig()
    posterior: PosteriorConfig = PosteriorConfig()
    training: TrainingConfig = TrainingConfig()
    campaign: Settings = Settings()


def changed(config: Config, **fields: Any) -> Config:
    """The configuration with `fields`, of whatever section: their names, those of the command line, are unique."""
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        of_part = {field.name: fields.pop(field.name) for field in dataclasses.fields(part) if field.name in fields}
        config = dataclasses.replace(config, **{section.name: dataclasses.replace(part, **of_part)})
    if fields:
        raise TypeError(f"no section has {', '.join(fields)}")
    return config


def build_initial(config: Config) -> np.ndarray | None:
    """Pool rows [seeds, initial_labels] that are prescribed, the first of the pool; None: every seed draws its own."""
    count = len(config.data.initial_rows)
    if not count:
        return None
    expect(
        config.campaign.initial_labels == count,
        "initial_labels",
        config.campaign.initial_labels,
        f"{count}, the number of initial_rows",
    )
    return np.tile(np.arange(count), (config.campaign.seeds, 1))


def build_acquisition(config: AcquisitionConfig, dataset: Dataset) -> Acquisition:
    """The acquisition by its name in the literature; ValueError lists the close matches of an unknown one."""
    name = config.acquisition
    if name not in SCORES and name not in BATCH_METHODS:
        raise unknown("acquisition", name, [*SCORES, *BATCH_METHODS])
    if config.prefilter_score not in SCORES:
        raise unknown("prefilter_score", config.prefilter_score, SCORES)
    if config.stochastic:
        expect(name in SCORES, "stochastic", config.stochastic, f"a pointwise score, and {name} is none")
        positive = name != "margin" or config.stochastic != "power"
        expect(positive, "stochastic", config.stochastic, f"a score that is never negative, and {name} is")
    if name in BATCH_METHODS:
        acquisition = build_batch_method(config, dataset)
    elif config.stochastic:
        acquisition = acquisitions.stochastic_top_k(SCORES[name], config.stochastic, config.coldness)
    else:
        acquisition = acquisitions.top_k(SCORES[name])
    if config.prefilter is not None:
        with named(m="prefilter"):
            acquisition = acquisitions.prefilter(SCORES[config.prefilter_score], config.prefilter, acquisition)
    return acquisition


def build_batch_method(config: AcquisitionConfig, dataset: Dataset) -> Acquisition:
    """An acquisition that is no pointwise score."""
    if config.acquisition == "batchbald":
        return acquisitions.batchbald(
            config.num_configurations, stop_when_saturated=config.stop_when_saturated, fallback=config.fallback
        )
    if config.acquisition == "epig":
        rows = len(dataset.labels)
        expect(1 <= config.num_targets <= rows, "num_targets", config.num_targets, f"1 to {rows}, the rows of the pool")
        chosen = np.random.default_rng(0).choice(rows, config.num_targets, replace=False)
        return acquisitions.epig(dataset.inputs[np.sort(chosen)])
    return acquisitions.random() if config.acquisition == "random" else acquisitions.core_set()


def build_training(config: TrainingConfig) -> Training:
    """Adam with the configured budget, penalty and early stopping."""
    expect(config.learning_rate > 0, "learning_rate", config.learning_rate, "a positive number")
    decay = config.weight_decay
    try:
        re.compile(config.weight_decay_of)
    except re.error as error:
        raise ValueError(
            f"weight_decay_of={config.weight_decay_of!r}: expected a regular expression ({error})"
        ) from error
    if config.augmentation not in AUGMENTATIONS:
        raise unknown("augmentation", config.augmentation, AUGMENTATIONS)
    penalty = l2(decay, over_count=config.weight_decay_over_count, only=config.weight_decay_of) if decay else None
    return Training(
        optax.adam(config.learning_rate),
        minibatch_size=config.minibatch_size,
        steps=config.steps if config.epochs is None else None,
        epochs=config.epochs,
        penalty=penalty,
        patience=config.patience,
        evaluate_every=config.evaluate_every,
        monitor=config.monitor,
        augment=AUGMENTATIONS[config.augmentation],
        dtype=None if config.dtype == "float32" else jnp.bfloat16,
    )


def network_name(network: str, dataset: Dataset) -> str:
    """The network that `auto` stands for with this data set; ValueError lists the close matches of an unknown one."""
    if network not in ("auto", "mlp", *NETWORKS):
        raise unknown("network", network, ["auto", "mlp", *NETWORKS])
    if network != "auto":
        return network
    shape = dataset.inputs.shape[1:]
    if len(shape) != 3 or min(shape[:2]) < 16:
        return "mlp"
    return "gal_cnn" if shape[2] == 1 else "lenet"


def build_posterior(config: PosteriorConfig, training: Training, dataset: Dataset) -> Posterior:
    """The posterior over networks for this data set."""
    name, network = config.posterior, network_name(config.network, dataset)
    if name not in POSTERIORS:
        raise unknown("posterior", name, POSTERIORS)
    expect(all(width > 0 for width in config.hidden), "hidden", config.hidden, "positive widths")
    expect(0 <= config.dropout < 1, "dropout", config.dropout, "0 or more and less than 1")
    expect(config.std is None or config.std > 0, "std", config.std, "a positive number")
    sampled = name in ("mc_dropout", "debal")
    expect(
        not sampled or config.dropout > 0, "dropout", config.dropout, f"more than 0, since {name} samples dropout masks"
    )
    options: dict[str, Any] = {
        "num_classes": dataset.num_classes,
        "dropout": 0.0 if name in ("variational", "svi", "nuts") else config.dropout,
        "mean": float(dataset.inputs.mean()) if config.mean is None else config.mean,
        "std": (float(dataset.inputs.std()) or 1.0) if config.std is None else config.std,
        "dense": models.VariationalDense if name == "variational" and config.bayesian == "all" else nn.Dense,
        "last": models.VariationalDense if name == "variational" else None,
    }
    module = models.MLP(hidden=config.hidden, **options) if network == "mlp" else NETWORKS[network](**options)
    if name == "variational":
        return posteriors.variational(
            module, categorical(), training, prior_std=config.prior_std, temperature=config.temperature
        )
    chains = {"chains": config.chains, "warmup": config.warmup, "draws": config.draws}
    if name in ("svi", "laplace", "nuts_last_layer", "nuts"):
        expect(config.prior_std > 0, "prior_std", config.prior_std, "a positive number")
    if name == "svi":
        prior = {config.prior_of: dist.Normal(0.0, config.prior_std)}
        return posteriors.svi(
            module,
            categorical(),
            training,
            prior=prior,
            guide=GUIDES[config.guide],
            temperature=config.temperature,
        )
    if name == "laplace":
        precision = None if config.evidence else config.prior_std**-2
        return posteriors.laplace(
            module, categorical(), training, structure=config.structure, prior_precision=precision
        )
    if name == "nuts_last_layer":
        std = None if config.evidence else config.prior_std
        return posteriors.nuts_last_layer(module, categorical(), training, prior_std=std, **chains)
    if name == "nuts":
        return posteriors.nuts(module, categorical(), prior=dist.Normal(0.0, config.prior_std), **chains)
    inner = posteriors.mc_dropout if sampled else posteriors.point
    posterior = inner(module, categorical(), training)
    return posteriors.ensemble(posterior, config.members) if name in ("ensemble", "debal") else posterior
