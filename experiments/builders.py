"""What a campaign is made of, built from its configuration; ValueError names the option that is wrong."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from numpyro.infer import autoguide

from al_jax import acquisitions, models, posteriors
from al_jax.acquisitions import regression
from al_jax.data import Dataset
from al_jax.errors import unknown
from al_jax.likelihood import categorical, gaussian
from al_jax.training import Training, augmentation, l2
from al_jax.types import Acquisition, Likelihood, Posterior
from experiments import as_published
from experiments.config import AcquisitionConfig, Config, PosteriorConfig, TrainingConfig
from experiments.datasets import expect, named

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
        as_published.mean_std_2017,
    )
} | {"mean_kl": acquisitions.mean_kl}
REGRESSION_SCORES: dict[str, Any] = {"variance": regression.variance, "bald": regression.gaussian_bald}
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
    "mc_dropout_fresh_masks",
    "variational",
    "ensemble",
    "debal",
    "svi",
    "swag",
    "laplace",
    "nuts_last_layer",
    "nuts",
)
GUIDES: dict[str, Any] = {
    "normal": functools.partial(autoguide.AutoNormal, init_scale=0.01),
    "low_rank": functools.partial(autoguide.AutoLowRankMultivariateNormal, init_scale=0.01),
    "delta": autoguide.AutoDelta,
}


def check_together(config: Config) -> None:
    """ValueError when the posterior has not what the acquisition needs."""
    name, needs_joint = config.acquisition.acquisition, config.acquisition.acquisition in ("batchbald", "epig")
    fresh = config.posterior.posterior == "mc_dropout_fresh_masks"
    expected = f"mc_dropout, since {name} asks what several rows say together and fresh masks make them independent"
    expect(not (fresh and needs_joint), "posterior", config.posterior.posterior, expected)


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
    name, classes = config.acquisition, dataset.num_classes is not None
    scores = SCORES if classes else REGRESSION_SCORES
    known = [*scores, *(method for method in BATCH_METHODS if classes or method != "batchbald")]
    if not classes:
        expect(name in known, "acquisition", name, f"for a regression one of {', '.join(known)}")
    if name not in known:
        raise unknown("acquisition", name, known)
    if config.prefilter is not None and config.prefilter_score not in scores:
        raise unknown("prefilter_score", config.prefilter_score, scores)
    if config.stochastic:
        expect(name in scores, "stochastic", config.stochastic, f"a pointwise score, and {name} is none")
        positive = name != "margin" or config.stochastic != "power"
        expect(positive, "stochastic", config.stochastic, f"a score that is never negative, and {name} is")
    if name in BATCH_METHODS:
        acquisition = build_batch_method(config, dataset)
    elif config.stochastic:
        acquisition = acquisitions.stochastic_top_k(scores[name], config.stochastic, config.coldness)
    else:
        acquisition = acquisitions.top_k(scores[name])
    if config.prefilter is not None:
        with named(m="prefilter"):
            acquisition = acquisitions.prefilter(scores[config.prefilter_score], config.prefilter, acquisition)
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
        targets = dataset.inputs[np.sort(chosen)]
        if dataset.num_classes is None:
            return acquisitions.epig(targets, gain=regression.gaussian_information_gain)
        return acquisitions.epig(targets)
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
    sampled = name in ("mc_dropout", "mc_dropout_fresh_masks", "debal")
    expect(
        not sampled or config.dropout > 0, "dropout", config.dropout, f"more than 0, since {name} samples dropout masks"
    )
    options: dict[str, Any] = {
        "num_classes": dataset.num_classes or (1 if config.noise_std is not None else 2),
        "dropout": 0.0 if name in ("variational", "svi", "nuts") else config.dropout,
        "mean": float(dataset.inputs.mean()) if config.mean is None else config.mean,
        "std": (float(dataset.inputs.std()) or 1.0) if config.std is None else config.std,
        "dense": models.VariationalDense if name == "variational" and config.bayesian == "all" else nn.Dense,
        "last": models.VariationalDense if name == "variational" else None,
    }
    module = models.MLP(hidden=config.hidden, **options) if network == "mlp" else NETWORKS[network](**options)
    likelihood = build_likelihood(config, dataset)
    if name in ("point", "ensemble"):
        posterior = posteriors.point(module, likelihood, training)
        return posterior if name == "point" else posteriors.ensemble(posterior, config.members)
    if name == "swag":
        expect(config.swag_rate > 0, "swag_rate", config.swag_rate, "a positive number")
        return posteriors.swag(module, likelihood, training, learning_rate=config.swag_rate)
    if name == "mc_dropout_fresh_masks":
        return as_published.mc_dropout_fresh_masks(module, likelihood, training)
    if name in ("mc_dropout", "debal"):
        posterior = posteriors.mc_dropout(module, likelihood, training)
        return posterior if name == "mc_dropout" else posteriors.ensemble(posterior, config.members)
    std = config.prior_std
    expect(std > 0, "prior_std", std, "a positive number")
    if name == "variational":
        return posteriors.variational(module, likelihood, training, prior_std=std, temperature=config.temperature)
    if name == "svi":
        prior, guide = {config.prior_of: dist.Normal(0.0, std)}, GUIDES[config.guide]
        return posteriors.svi(module, likelihood, training, prior=prior, guide=guide, temperature=config.temperature)
    chosen = None if config.evidence else std
    convex = dataset.num_classes is not None or config.noise_std is not None
    expect(convex or name == "nuts", "noise_std", config.noise_std, f"a number, since {name} needs a convex loss")
    if name == "laplace":
        precision = None if chosen is None else chosen**-2.0
        return posteriors.laplace(module, likelihood, training, structure=config.structure, prior_precision=precision)
    chains = {"chains": config.chains, "warmup": config.warmup, "draws": config.draws}
    if name == "nuts_last_layer":
        return posteriors.nuts_last_layer(module, likelihood, training, prior_std=chosen, **chains)
    return posteriors.nuts(module, likelihood, prior=dist.Normal(0.0, std), **chains)


def build_likelihood(config: PosteriorConfig, dataset: Dataset) -> Likelihood:
    """Of classes, or of numbers: the network's outputs have the mean and the size of the pool's labels."""
    if dataset.num_classes is not None:
        return categorical()
    scale = float(dataset.labels.std()) or 1.0
    expect(config.noise_std is None or config.noise_std > 0, "noise_std", config.noise_std, "a positive number or None")
    noise = None if config.noise_std is None else config.noise_std * scale
    return gaussian(noise, shift=float(dataset.labels.mean()), scale=scale)
