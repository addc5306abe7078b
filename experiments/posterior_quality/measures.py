"""What a posterior says of test rows and a pool, and how far that is from a reference."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import stats

from al_jax import information, metrics
from al_jax.acquisitions import bald
from al_jax.acquisitions.regression import gaussian_bald
from al_jax.types import Predictions
from experiments.posterior_quality.references import NOISE, Problem, Task, exact_weights

ROUNDING = 1e-5  # nats; BALD scores that differ by less rank nothing


class Beliefs(NamedTuple):
    """What a posterior says of test rows and pool rows. Regression has C = 1: `mean` is the function's."""

    mean: Float[np.ndarray, "t C"]
    bald: Float[np.ndarray, " n"]  # nats
    nll: float  # nats a label
    joint_nll: float  # nats a label
    ece: float
    std: Float[np.ndarray, "t 1"] | None = None  # of the function; where it is known exactly


@jax.jit
def _class_beliefs(
    predictions: Predictions, labels: Int[Array, " t"], rows: Int[Array, "batches tau"]
) -> tuple[Array, ...]:
    test, pool = predictions.log_probs[: len(labels)], predictions.log_probs[len(labels) :]
    log_p = information.log_marginal(test)
    own = jnp.take_along_axis(test, labels[:, None, None], axis=-1)[..., 0]
    joint = metrics.joint_nll(own[rows]) / rows.shape[1]
    return jnp.exp(log_p), bald(pool), metrics.nll(log_p, labels), joint, metrics.ece(log_p, labels)


@jax.jit
def _regression_beliefs(predictions: Any, labels: Float[Array, " t"], rows: Int[Array, "batches tau"]) -> Any:
    test, pool = (
        jax.tree.map(lambda leaf, part=part: leaf[part], predictions.samples)
        for part in (slice(len(labels)), slice(len(labels), None))
    )
    own = metrics.normal_log_density(labels[:, None], test.mean, test.variance)
    nll, joint = metrics.mixture_nll(test.mean, test.variance, labels), metrics.joint_nll(own[rows]) / rows.shape[1]
    return test.mean.mean(-1, keepdims=True), gaussian_bald(pool), nll, joint, jnp.nan


def beliefs(task: Task, predictions: Any, problem: Problem, rows: Int[np.ndarray, "batches tau"]) -> Beliefs:
    """From predictions for `judged_rows`."""
    judge = _regression_beliefs if task.regression else _class_beliefs
    mean, scores, nll, joint, ece = judge(predictions._replace(features=None), problem.test_labels, rows)
    return Beliefs(np.asarray(mean), np.asarray(scores), float(nll), float(joint), float(ece))


def exact_beliefs(task: Task, problem: Problem, rows: Int[np.ndarray, "batches tau"]) -> Beliefs:
    """The closed form of linear regression, in float64."""
    weights = exact_weights(problem, task.prior_std)
    mean, covariance = weights.function(problem.test_inputs)
    _, of_pool = weights.function(problem.pool)
    std, errors = np.sqrt(np.diag(covariance)), problem.test_labels - mean
    nll = -stats.norm(mean, np.sqrt(std**2 + NOISE**2)).logpdf(problem.test_labels).mean()
    joints = covariance[rows[:, :, None], rows[:, None, :]] + NOISE**2 * np.eye(rows.shape[1])
    solved = np.linalg.solve(joints, errors[rows][..., None])[..., 0]
    distance, volume = (errors[rows] * solved).sum(1), np.linalg.slogdet(2 * np.pi * joints)[1]
    scores = 0.5 * np.log1p(np.diag(of_pool) / NOISE**2)
    joint = 0.5 * float((distance + volume).mean()) / rows.shape[1]
    return Beliefs(mean[:, None], scores, float(nll), joint, np.nan, std[:, None])


def compare(one: Beliefs, reference: Beliefs, top: int) -> dict[str, float]:
    """The measures of `one`. NaN where one does not apply: ranks of scores that are all equal, ECE of a regression."""
    gap = one.mean - reference.mean
    if reference.std is None:
        error = 0.5 * np.abs(gap).sum(-1).mean()
    else:
        error = np.sqrt(np.mean(np.square(gap / reference.std)))
    ranked = np.ptp(one.bald) > ROUNDING
    best, expected = (set(np.argsort(-scores, kind="stable")[:top].tolist()) for scores in (one.bald, reference.bald))
    return {
        "mean_error": float(error),
        "bald_rank": float(stats.spearmanr(one.bald, reference.bald).statistic) if ranked else np.nan,
        "bald_top": len(best & expected) / top if ranked else np.nan,
        "nll": one.nll,
        "joint_nll": one.joint_nll,
        "nll_excess": one.nll - reference.nll,
        "joint_nll_excess": one.joint_nll - reference.joint_nll,
        "ece": one.ece,
    }
