"""How much a label is expected to change what is predicted for target inputs.

A label c of row x reweights the samples, p(w_k | x, c) ~ p(c | x, w_k), and with them the prediction for a target t: no
network is trained again. With the joint p(c, j) of the labels of x and t, `epig.joint_probabilities`, p(j | t, x, c) is
p(c, j) / p(c). All of these cost one matrix product of n C by T C over the K samples, and are `epig` with another gain.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.draws.epig import epig, joint_probabilities
from al_jax.information import ROUNDING, without_rounding
from al_jax.memo import memoised
from al_jax.types import Acquisition, Inputs


def error_reduction(log_probs: Float[Array, "n K C"], targets: Float[Array, "T K C"]) -> Float[Array, " n"]:
    """E_t [sum_c max_j p(c, j) - max_j p(j | t)], in [0, 1]: how far the expected error 1 - max falls."""
    joint = joint_probabilities(log_probs, targets)
    after, before = joint.max(-1).sum(1), joint.sum(1).max(-1)
    return without_rounding(jnp.mean(after - before, axis=1))


def absolute_change(log_probs: Float[Array, "n K C"], targets: Float[Array, "T K C"]) -> Float[Array, " n"]:
    """E_t sum_c p(c) sum_j |p(j | t, x, c) - p(j | t)|, in [0, 2]."""
    joint = joint_probabilities(log_probs, targets)
    independent = joint.sum(3, keepdims=True) * joint.sum(1, keepdims=True)
    return without_rounding(jnp.mean(jnp.abs(joint - independent).sum((1, 3)), axis=1))


def squared_change(log_probs: Float[Array, "n K C"], targets: Float[Array, "T K C"]) -> Float[Array, " n"]:
    """E_t sum_c p(c) sum_j (p(j | t, x, c) - p(j | t))^2, in [0, 2]."""
    joint = joint_probabilities(log_probs, targets)
    label = joint.sum(3, keepdims=True)
    difference = joint - label * joint.sum(1, keepdims=True)
    shares = jnp.where(label > 0, jnp.square(difference) / jnp.where(label > 0, label, 1.0), 0.0)
    return without_rounding(jnp.mean(shares.sum((1, 3)), axis=1), ROUNDING**2)


def weighted_cost_reduction(
    log_probs: Float[Array, "n K C"], targets: Float[Array, "T K C"], weight: float = 1.0
) -> Float[Array, " n"]:
    """E_t of the expected fall of (1 - weight G) G, where G = E_w[max_j p(j | t, w)] - max_j p(j | t) is in [0, 1]."""
    best = targets.max(axis=-1, keepdims=True)
    joint = joint_probabilities(log_probs, jnp.concatenate([targets, best], axis=-1))  # [n, C, T, C + 1]
    label = joint[..., :-1].sum(3)  # p(c), the same for every target
    costs = joint[..., -1] - joint[..., :-1].max(3)  # p(c) G after the label c
    after = costs - weight * jnp.square(costs) / jnp.where(label > 0, label, 1.0)
    cost = joint[..., -1].sum(1) - joint[..., :-1].sum(1).max(2)
    return without_rounding(jnp.mean(cost - weight * jnp.square(cost) - after.sum(1), axis=1))


@memoised
def eer(targets: int | Inputs = 200) -> Acquisition:
    """The rows whose label is expected to lower the error at the targets most (Roy & McCallum 2001).

    The error is 1 - max_j p(j | t); the reduction is `error_reduction`, 0 where no label changes which class is
    predicted. That of the mean objective cost of uncertainty (MOCU, Zhao et al. 2021) is the same, for what it adds
    does not depend on the row. Targets, memory and errors as of `epig`. Departure: Roy & McCallum train again for every
    label; here the samples are reweighted.
    """
    return epig(targets, error_reduction)


@memoised
def mocu(targets: int | Inputs = 200) -> Acquisition:
    """The mean objective cost of uncertainty, of errors (Zhao et al. 2021): it is `eer`.

    What a label is expected to take from E_w[error of the mean's prediction - error of w's own] is what it takes from
    the first, for the second does not change in the mean.
    """
    return eer(targets)


@memoised
def wmocu(targets: int | Inputs = 200, weight: float = 1.0) -> Acquisition:
    """The weighted mean objective cost of uncertainty (Zhao et al. 2021): the expected fall of (1 - weight G) G.

    G is what `mocu` is about: how much lower the error at a target would be if w were known. `mocu` is 0 for a label
    that alone changes no decision, and stops there; the weight, which falls where G is large, makes such labels count.
    The paper proves convergence for weights in (0, 1]; 0 is `mocu`, and its authors' code has 1. With more than two
    classes G may exceed 1 / (2 weight), where the fall may be negative. Targets, memory and errors as of `epig`;
    ValueError also for a weight outside [0, 1]. Departure as of `eer`.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight}: expected a number from 0 to 1")
    return epig(targets, partial(weighted_cost_reduction, weight=weight))


@memoised
def emoc(targets: int | Inputs = 200) -> Acquisition:
    """The rows whose label is expected to change the predictions for the targets most (Kaeding et al. 2016).

    The change is the sum over classes of |p(j | t, x, c) - p(j | t)|, `absolute_change`, 0 where all samples agree.
    Targets, memory and errors as of `epig`. Departure: the paper estimates the change by a gradient step; here the
    samples are reweighted.
    """
    return epig(targets, absolute_change)


@memoised
def core_mse(targets: int | Inputs = 200) -> Acquisition:
    """CoreMSE: `emoc` with squares, the expected fall of a quadratic score at the targets (Tan et al. 2021).

    `squared_change`, 0 where all samples agree. Targets, memory and errors as of `epig`.
    """
    return epig(targets, squared_change)


@memoised
def core_log(targets: int | Inputs = 200) -> Acquisition:
    """CoreLog, the expected fall of the logarithmic score at the targets (Tan et al. 2021): it is `epig`."""
    return epig(targets)
