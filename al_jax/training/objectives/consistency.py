"""Consistency: the network should say the same of a row under two kinds of noise (Pi-model, mean teacher)."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.sweep import is_zero, known
from al_jax.training.augmentation import Augmentation
from al_jax.training.objective import (
    Apply,
    Minibatch,
    Objective,
    Params,
    Report,
    check_classes,
    check_unlabelled,
    supervised_loss,
)
from al_jax.training.rand_augment import weak_change
from al_jax.types import Data, PRNGKey


@memoised
def consistency(
    kind: Literal["pi", "mean_teacher"] = "pi",
    weight: float = 10.0,
    ratio: int = 1,
    ramp: float = 0.4,
    average: float = 0.95,
    change: Augmentation | None = None,
) -> Objective:
    """Supervised loss + weight * ramp-up * squared difference of two noisy predictions, mean over rows and classes.

    "pi" (Laine & Aila 2017, Algorithm 1): both by the network, with dropout and changes of their own. "mean_teacher"
    (Tarvainen & Valpola 2017, eqs. 1 and 2): the second by the exponential average of the parameters, which is what the
    fit returns where there are unlabelled rows. No gradient flows through the second. The weight rises as
    exp(-5 (1 - t)^2) until t = progress / ramp is 1.

    Args:
      kind: who predicts the second time.
      weight: of the difference when the ramp is over.
      ratio: unlabelled rows for each labelled one of a minibatch; the labelled ones count, too.
      ramp: share of the steps until then.
      average: of "mean_teacher", how much of the average stays in a step; less stays in the first steps.
      change: noise on the rows, by default small shifts of images and a little noise on vectors.

    `fit` reports `difference`. Classes only. ValueError for a negative weight, a ratio below 1, shares outside [0, 1],
    or an unknown kind.
    """
    check_unlabelled("consistency", weight=weight, ratio=ratio)
    if kind not in ("pi", "mean_teacher"):
        raise ValueError(f"kind={kind!r}: expected 'pi' or 'mean_teacher'")
    for name, value in (("ramp", ramp), ("average", average)):
        if known(value) and not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: expected a share, 0 to 1")
    taught = kind == "mean_teacher"

    def loss(
        key: PRNGKey,
        apply: Apply,
        params: Params,
        labelled: Minibatch,
        unlabelled: Minibatch,
        progress: Array,
        memory: Any,
    ) -> tuple[Array, Report]:
        check_classes("consistency", apply)
        keys = [jax.random.fold_in(key, i) for i in range(1, 5)]
        rows = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), labelled.inputs, unlabelled.inputs)
        noisy = change or weak_change(rows)
        teacher = params if memory is None else memory[0]
        one, other = (
            jax.nn.softmax(apply(network, of_network, noisy(of_rows, rows)))
            for network, of_network, of_rows in ((params, *keys[:2]), (teacher, *keys[2:]))
        )
        squares = jnp.square(one - jax.lax.stop_gradient(other)).mean(-1)
        # Nothing counts where there are no unlabelled rows: that is training without the objective.
        valid = jnp.concatenate([labelled.valid, unlabelled.valid]) & unlabelled.valid[0]
        difference = Minibatch(rows, None, jnp.ones(len(valid)), valid).mean(squares)
        left = jnp.maximum(1 - progress / ramp, 0.0) if not known(ramp) or ramp > 0 else 0.0
        total = supervised_loss(key, apply, params, labelled) + weight * jnp.exp(-5 * left**2) * difference
        return total, {"difference": difference}

    def init(params: Params, data: Data) -> Any:
        some = jnp.asarray(False) if data.pool is None else data.pool.available.any()
        return params, jnp.zeros(()), some

    def update(memory: Any, params: Params, progress: Array) -> Any:
        before, steps, some = memory
        share = jnp.minimum(average, steps / (steps + 1))  # the first averages would else be the initial parameters
        return jax.tree.map(lambda old, new: share * old + (1 - share) * new, before, params), steps + 1, some

    def finish(params: Params, memory: Any) -> Params:
        return jax.tree.map(lambda mean, last: jnp.where(memory[2], mean, last), memory[0], params)

    if not taught or is_zero(weight):
        return Objective(loss, ratio)
    return Objective(loss, ratio, init, update, finish)
