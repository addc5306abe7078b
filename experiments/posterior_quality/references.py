"""The tasks of `posterior_quality`: their problems, the posteriors to judge, and the references that judge them.

All aim at one target: prior N(0, prior_std^2) for every weight and bias, known noise or a softmax, temperature 1.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jaxtyping import Float, Int, Shaped
from numpyro.infer import autoguide
from scipy.special import log_softmax

from al_jax import data, models, posteriors
from al_jax.data import Dataset
from al_jax.likelihood import categorical, gaussian
from al_jax.training import Training, l2
from al_jax.types import GaussianPredictions, Likelihood, Posterior

NOISE = 0.5
"""Standard deviation of the labels of `linear`."""
DROPOUT, MEMBERS = 0.2, 5
MODES = ("point", "mc_dropout", "ensemble", "debal")
"""They minimise the negative log posterior (with dropout, another objective): modes are what they know of it."""
POSTERIORS = (
    *MODES,
    "variational",
    "svi_normal",
    "svi_low_rank",
    "laplace_full",
    "laplace_kron",
    "laplace_diag",
    "nuts_last_layer",
    "nuts",
    "swag",
    "sgld",
    "cyclical_sghmc",
    "snapshot_ensemble",
    "dpe",
    "sngp",
)
GUIDES: dict[str, Any] = {
    "svi_normal": functools.partial(autoguide.AutoNormal, init_scale=0.01),
    "svi_low_rank": functools.partial(autoguide.AutoLowRankMultivariateNormal, init_scale=0.01, rank=5),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How long everything runs.

    Attributes:
      seeds: problems a task: other labels, other keys.
      steps: of Adam, on all labels at once, with a step size that falls from 0.01 to 0.
      samples: K, the functions drawn from each posterior; an ensemble of points has its members only.
      chains, warmup, draws: of each of the two long runs of NUTS that are the reference.
      short_warmup, short_draws: of `nuts` and `nuts_last_layer`, with 2 chains.
      pool, test: rows; `near` is how many of them make half a joint batch.
      top: rows of the pool whose overlap with the reference's is reported.
      joint_batches: of 2 * near test labels each.
    """

    seeds: int = 5
    steps: int = 3000
    samples: int = 200
    chains: int = 4
    warmup: int = 200
    draws: int = 300
    short_warmup: int = 100
    short_draws: int = 100
    pool: int = 500
    test: int = 500
    near: int = 5
    top: int = 20
    joint_batches: int = 1000


PRESETS = {
    "default": Sizes(),
    "smoke": Sizes(
        seeds=2,
        steps=300,
        samples=50,
        chains=2,
        warmup=80,
        draws=120,
        short_warmup=25,
        short_draws=25,
        pool=100,
        test=100,
        top=10,
        joint_batches=100,
    ),
}


class Problem(NamedTuple):
    """One seed of a task: labelled rows, and the rows on which posteriors are compared."""

    inputs: Shaped[np.ndarray, "m ..."]
    labels: Shaped[np.ndarray, " m"]
    pool: Shaped[np.ndarray, "n ..."]
    test_inputs: Shaped[np.ndarray, "t ..."]
    test_labels: Shaped[np.ndarray, " t"]


class Task(NamedTuple):
    """A model, its prior, and problems from which to learn it."""

    title: str
    prior_std: float
    hidden: tuple[int, ...]  # () is a linear model
    outputs: int
    problem: Callable[[int, Sizes], Problem]
    mean: float = 0.0  # of the raw inputs
    std: float = 1.0
    regression: bool = False

    @property
    def likelihood(self) -> Likelihood:
        """Of the labels."""
        return gaussian(NOISE) if self.regression else categorical()


def linear_problem(seed: int, sizes: Sizes, labels: int = 10, dimensions: int = 5) -> Problem:
    """Weights from the prior N(0, 1), inputs N(0, I), labels with N(0, NOISE^2) noise: the model is right."""
    generator = np.random.default_rng(seed)
    x, design = _inputs(generator, labels + sizes.pool + sizes.test, dimensions)
    y = design @ generator.normal(size=dimensions + 1) + NOISE * generator.normal(size=len(x))
    return _cut(x, y.astype(np.float32), labels, sizes)


def softmax_problem(seed: int, sizes: Sizes, labels: int = 20, dimensions: int = 4, classes: int = 3) -> Problem:
    """Weights from the prior N(0, 1), inputs N(0, I), labels drawn from the softmax: the model is right."""
    generator = np.random.default_rng(seed)
    x, design = _inputs(generator, labels + sizes.pool + sizes.test, dimensions)
    logits = design @ generator.normal(size=(dimensions + 1, classes))
    y = np.argmax(log_softmax(logits, axis=-1) + generator.gumbel(size=logits.shape), axis=-1)
    return _cut(x, y.astype(np.int32), labels, sizes)


def labelled_problem(name: str, labels: int, seed: int, sizes: Sizes) -> Problem:
    """`labels` rows of a bundled data set, equally many of every class, and random rows of its pool and its test."""
    source = dataset(name)
    generator = np.random.default_rng(seed)
    known = data.initial_rows(seed, source.labels, labels, source.num_classes)
    rest = generator.permutation(np.setdiff1d(np.arange(len(source.labels)), known))[: sizes.pool]
    test = generator.permutation(len(source.test_labels))[: sizes.test]
    inputs, test_inputs = np.asarray(source.inputs), np.asarray(source.test_inputs)
    return Problem(inputs[known], source.labels[known], inputs[rest], test_inputs[test], source.test_labels[test])


def _inputs(generator: np.random.Generator, rows: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    x = generator.normal(size=(rows, dimensions)).astype(np.float32)
    return x, with_ones(x)


def _cut(x: np.ndarray, y: np.ndarray, labels: int, sizes: Sizes) -> Problem:
    known, test = slice(labels), slice(labels + sizes.pool, None)
    return Problem(x[known], y[known], x[labels : labels + sizes.pool], x[test], y[test])


@functools.cache
def dataset(name: str) -> Dataset:
    """Two moons, larger than by default, or digits."""
    return data.two_moons(1000, 1000) if name == "two_moons" else data.load(name)


TASKS = {
    "linear": Task("Linear regression, 10 labels", 1.0, (), 1, linear_problem, regression=True),
    "softmax": Task("Softmax regression, 20 labels", 1.0, (), 3, softmax_problem),
    "two_moons": Task(
        "Two moons, MLP (16), 20 labels", 2.0, (16,), 2, functools.partial(labelled_problem, "two_moons", 20)
    ),
    "digits": Task(
        "Digits, MLP (16), 50 labels",
        0.4,
        (16,),
        10,
        functools.partial(labelled_problem, "digits", 50),
        mean=4.9,
        std=6.0,
    ),
}


def applies(name: str, task: Task) -> bool:
    """Whether a posterior can be built: a linear model has no hidden units to drop."""
    return bool(task.hidden) or name not in ("mc_dropout", "debal")


def build(name: str, task: Task, sizes: Sizes) -> Posterior:
    """The posterior of that name for the task's model and prior; `reference` is the long run of NUTS.

    Adam sees every label in every step. Where it looks for the mode, its objective is the negative log posterior over
    the number of labels, so the prior becomes an L2 penalty of 1 / (2 prior_std^2), also over that number.
    """
    schedule = optax.cosine_decay_schedule(1e-2, sizes.steps)
    labels = len(task.problem(0, sizes).labels)
    free = Training(optax.adam(schedule), minibatch_size=labels, steps=sizes.steps)
    training = dataclasses.replace(free, penalty=l2(0.5 / task.prior_std**2, over_count=True))
    network = functools.partial(models.MLP, task.outputs, task.hidden, mean=task.mean, std=task.std)
    plain, likelihood, prior = network(dropout=0.0), task.likelihood, dist.Normal(0.0, task.prior_std)
    if name in MODES:
        if name in ("mc_dropout", "debal"):
            one = posteriors.mc_dropout(network(dropout=DROPOUT), likelihood, training)
        else:
            one = posteriors.point(plain, likelihood, training)
        return posteriors.ensemble(one, MEMBERS) if name in ("ensemble", "debal") else one
    if name == "variational":
        module = network(dropout=0.0, dense=models.VariationalDense)
        return posteriors.variational(module, likelihood, free, prior_std=task.prior_std)
    if name in GUIDES:
        return posteriors.svi(plain, likelihood, free, prior=prior, guide=GUIDES[name])
    if name.startswith("laplace_"):
        structure: Any = name.removeprefix("laplace_")
        return posteriors.laplace(
            plain, likelihood, training, structure=structure, prior_precision=task.prior_std**-2.0
        )
    if name == "swag":
        return posteriors.swag(plain, likelihood, training)
    if name == "sgld":
        return posteriors.sgld(
            plain, likelihood, training, prior_std=task.prior_std, burn_in=sizes.steps // 6, draws=sizes.samples
        )
    if name == "cyclical_sghmc":
        walk = {"steps": 5 * sizes.samples, "draws": sizes.samples // 4}
        return posteriors.cyclical_sghmc(plain, likelihood, training, prior_std=task.prior_std, **walk)
    if name == "snapshot_ensemble":
        return posteriors.snapshot_ensemble(plain, likelihood, training, members=MEMBERS, steps=sizes.steps // MEMBERS)
    if name == "dpe":
        return posteriors.dpe(plain, likelihood, free, members=MEMBERS, strength=1 / labels)
    if name == "sngp":
        return posteriors.sngp(plain, likelihood, free)
    short = {"chains": 2, "warmup": sizes.short_warmup, "draws": sizes.short_draws}
    if name == "nuts_last_layer":
        return posteriors.nuts_last_layer(plain, likelihood, training, prior_std=task.prior_std, **short)
    long = {"chains": sizes.chains, "warmup": sizes.warmup, "draws": sizes.draws}
    return posteriors.nuts(plain, likelihood, prior=prior, **(long if name == "reference" else short))


# The closed form of linear regression, in float64


def with_ones(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d1"]:
    """The design matrix in float64: the inputs and a column of ones."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1, dtype=np.float64)


class Weights(NamedTuple):
    """The exact posterior N(mean, covariance) over the weights of `linear`, the bias last."""

    mean: Float[np.ndarray, " D"]
    covariance: Float[np.ndarray, "D D"]

    def function(self, x: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n n"]]:
        """Mean and covariance of the function's values, without the noise of labels."""
        design = with_ones(x)
        return design @ self.mean, design @ self.covariance @ design.T

    def draws(self, seed: int, num_samples: int, x: Float[np.ndarray, "n d"]) -> GaussianPredictions:
        """Predictions of exact draws of the weights."""
        weights = np.random.default_rng(seed).multivariate_normal(self.mean, self.covariance, num_samples)
        mean, point = (jnp.asarray(with_ones(x) @ w.T, jnp.float32) for w in (weights, self.mean))
        return GaussianPredictions(mean, jnp.full_like(mean, NOISE**2), point, jnp.full_like(point, NOISE**2))


def exact_weights(problem: Problem, prior_std: float) -> Weights:
    """Bayesian linear regression with known noise (Bishop 2006, section 3.3)."""
    design = with_ones(problem.inputs)
    covariance = np.linalg.inv(design.T @ design / NOISE**2 + np.eye(design.shape[1]) / prior_std**2)
    return Weights(covariance @ design.T @ problem.labels / NOISE**2, covariance)


def joint_rows(seed: int, problem: Problem, sizes: Sizes) -> Int[np.ndarray, "batches tau"]:
    """Test rows of every joint batch: the `near` nearest to each of two random ones, themselves included; no row twice.

    Dyadic sampling (Osband et al. 2022) repeats two inputs, each time with a fresh label from a known generator; a data
    set has one label an input, so here the nearest neighbours take the place of the repetitions. Of inputs drawn
    independently hardly any two share a weight, and joint and marginal predictions then say the same.
    """
    x = problem.test_inputs.reshape(len(problem.test_inputs), -1).astype(np.float64)
    squares, near = np.square(x).sum(1), sizes.near
    nearest = np.argsort(squares[:, None] + squares - 2 * x @ x.T, axis=1, kind="stable")[:, : 2 * near]
    pairs = np.random.default_rng(seed).integers(len(x), size=(sizes.joint_batches, 2))

    def batch(first: int, second: int) -> list[int]:
        half = nearest[first, :near].tolist()
        return half + [row for row in nearest[second].tolist() if row not in half][:near]

    return np.array([batch(first, second) for first, second in pairs])
