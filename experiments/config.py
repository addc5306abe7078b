"""The typed configuration that every experiment shares, and what is built from it."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from al_jax import acquisitions, augmentation, data, models, posteriors
from al_jax.campaign import Settings
from al_jax.data import Dataset
from al_jax.errors import unknown
from al_jax.likelihood import categorical
from al_jax.training import Training, l2
from al_jax.types import Acquisition, Posterior

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
    )
} | {"mean_kl": acquisitions.mean_kl}
BATCH_METHODS = ("random", "core_set", "batchbald", "epig")
NETWORKS = {
    "gal_cnn": models.GalCNN,
    "batchbald_cnn": models.BatchBALDCNN,
    "emnist_cnn": models.EMNISTCNN,
    "lenet": models.LeNet,
    "resnet18": models.ResNet18,
}
AUGMENTATIONS = {
    "none": None,
    "crop": augmentation.random_crop(),
    "crop_flip": augmentation.chain(augmentation.random_crop(), augmentation.random_flip()),
}
POSTERIORS = ("point", "mc_dropout", "variational", "ensemble", "debal")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data set, and the variants of its pool; test and validation rows are never changed."""

    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, svhn_cropped, emnist/balanced or cmaterdb/bangla, ..."""
    validation_size: int = 0
    """Rows moved from the pool to a validation set, for early stopping."""
    repeated: int = 1
    """Copies of every pool row in total; above 1 each gets Gaussian noise."""
    repeated_noise: float = 1.6
    """Standard deviation of that noise in raw input units (a tenth of the digits' range)."""
    rare_classes: tuple[int, ...] = ()
    """Classes of which only a share of the pool's rows is kept."""
    rare_share: float = 0.1
    """That share."""
    label_noise: float = 0.0
    """Probability that the oracle answers with another class."""
    data_seed: int = 0
    """Seed of the validation split and of the variants; the same for all campaign seeds."""


@dataclasses.dataclass(frozen=True)
class AcquisitionConfig:
    """How a batch is chosen."""

    acquisition: str = "bald"
    """random, entropy, least_confidence, margin, bald, mean_std, variation_ratio, vote_entropy, mean_kl, core_set,
    batchbald or epig."""
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
    """point, mc_dropout, variational, ensemble (of points) or debal (ensemble of MC-dropout networks)."""
    members: int = 5
    """Networks in `ensemble` and `debal`."""
    network: str = "auto"
    """mlp, gal_cnn, batchbald_cnn, emnist_cnn, lenet or resnet18; auto: gal_cnn for grey images of at least 16 pixels a
    side, lenet for colour ones, mlp for everything else."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of `mlp`."""
    dropout: float = 0.5
    """Largest dropout rate in the network; `variational` uses none."""
    prior_std: float = 0.3
    """Standard deviation of `variational`'s Gaussian prior over weights."""
    temperature: float = 0.1
    """Weight of `variational`'s KL; below 1 is a cold posterior."""


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


@contextlib.contextmanager
def named(**options: str) -> Iterator[None]:
    """Errors that begin with the name of an argument begin with the name of the option instead."""
    try:
        yield
    except ValueError as error:
        argument, separator, rest = str(error).partition("=")
        raise ValueError(options.get(argument, argument) + separator + rest) from error


def expect(holds: bool, name: str, value: object, expected: str) -> None:
    """ValueError that names the option and its value unless `holds`."""
    if not holds:
        raise ValueError(f"{name}={value!r}: expected {expected}")


def build_dataset(config: DataConfig) -> Dataset:
    """Load the data set, split validation rows off, then change the pool: nothing of other splits can leak into it."""
    dataset = data.load(config.dataset)
    if config.validation_size:
        with named(size="validation_size"):
            dataset = data.with_validation(dataset, config.validation_size, config.data_seed)
    if config.rare_classes:
        with named(share="rare_share", classes="rare_classes"):
            dataset = data.imbalanced(dataset, config.rare_share, config.rare_classes, config.data_seed)
    if config.label_noise:
        with named(rate="label_noise"):
            dataset = data.noisy_labels(dataset, config.label_noise, config.data_seed)
    if config.repeated != 1:
        with named(copies="repeated", noise="repeated_noise"):
            dataset = data.repeated(dataset, config.repeated, config.repeated_noise, config.data_seed)
    return dataset


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
    """The posterior over networks for this data set; inputs are normalised by the moments of the pool."""
    name, network = config.posterior, network_name(config.network, dataset)
    if name not in POSTERIORS:
        raise unknown("posterior", name, POSTERIORS)
    expect(all(width > 0 for width in config.hidden), "hidden", config.hidden, "positive widths")
    expect(0 <= config.dropout < 1, "dropout", config.dropout, "0 or more and less than 1")
    sampled = name in ("mc_dropout", "debal")
    expect(
        not sampled or config.dropout > 0, "dropout", config.dropout, f"more than 0, since {name} samples dropout masks"
    )
    options: dict[str, Any] = {
        "num_classes": dataset.num_classes,
        "dropout": 0.0 if name == "variational" else config.dropout,
        "mean": float(dataset.inputs.mean()),
        "std": float(dataset.inputs.std()) or 1.0,
        "dense": models.VariationalDense if name == "variational" else nn.Dense,
    }
    module = models.MLP(hidden=config.hidden, **options) if network == "mlp" else NETWORKS[network](**options)
    if name == "variational":
        return posteriors.variational(
            module, categorical(), training, prior_std=config.prior_std, temperature=config.temperature
        )
    inner = posteriors.mc_dropout if sampled else posteriors.point
    posterior = inner(module, categorical(), training)
    return posteriors.ensemble(posterior, config.members) if name in ("ensemble", "debal") else posterior
