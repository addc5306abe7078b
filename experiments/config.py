"""The typed configuration that every experiment shares; `builders` makes of it what a campaign needs."""

import dataclasses
from typing import Any, Literal

from al_jax.campaign import Settings
from experiments.datasets import DataConfig


@dataclasses.dataclass(frozen=True)
class AcquisitionConfig:
    """How a batch is chosen."""

    acquisition: str = "bald"
    """random, entropy, least_confidence, margin, bald, mean_std, variation_ratio, vote_entropy, mean_kl, core_set,
    batchbald, epig, or mean_std_2017: the mistake of Gal et al. 2017, which is random acquisition. For a regression:
    random, variance, bald, epig or core_set."""
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
    guide), swag, laplace or nuts_last_layer (both of the last layer of a trained network), or nuts (all weights).
    mc_dropout_fresh_masks has masks of its own for every row, as Keras draws them: not for batchbald and epig."""
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
    swag_rate: float = 0.02
    """Step size of the walk by plain gradient descent from which `swag` takes its Gaussian."""
    chains: int = 2
    """Chains of `nuts_last_layer` and `nuts`."""
    warmup: int = 100
    """Iterations of each chain that are thrown away."""
    draws: int = 50
    """Iterations of each chain that are kept."""
    noise_std: float | None = 0.3
    """Of a regression: standard deviation of the noise, over that of the pool's labels; None learns it row by row."""
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
