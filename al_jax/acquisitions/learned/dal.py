"""Discriminative active learning: rows that a classifier tells from labelled ones."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.representations import features, known_rows, of_labelled, summarised
from al_jax.memo import memoised
from al_jax.models import MLP
from al_jax.pool import best, check_batch_size
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

HALF = 64
"""Rows of either side in a minibatch."""
ACCURACY = 0.98
"""The training accuracy at which the classifier is good enough: a better one would be certain of every row."""
CLASSIFIER = MLP(1, (256, 256, 256), dropout=0.0)
OPTIMISER = optax.adam(1e-3)


@memoised
def dal(sub_batches: int = 10, steps: int = 500) -> Acquisition:
    """The rows that are most surely not labelled, to a classifier of labelled and available ones (Gissin et al. 2019).

    An MLP of three layers of 256 on the network's features is trained, with as many rows of either side in a minibatch,
    until it has an accuracy of 98 % over some minibatches, or for `steps`. A share 1 / `sub_batches` of the batch is
    taken, and counts as labelled for the next classifier. `Acquired.scores` are the classifiers' logits.

    Features are standardised by the available rows'. While nothing is labelled the first share is random. Cost: at most
    `steps` small steps and one prediction of all rows a share. ValueError when an argument is below 1, and when the
    network names no features.
    """
    for name, value in (("sub_batches", sub_batches), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        check_batch_size(batch_size, len(available))
        ((rows,), ((known,), labelled)), size = (summary, known_rows(round)), -(-batch_size // sub_batches)
        both = standardised(rows, known, available)

        def share(taken: Bool[Array, " n"], key: PRNGKey) -> tuple[Array, tuple[Array, Array]]:
            train_key, tie_key = jax.random.split(key)
            free = available & ~taken
            sides = jnp.concatenate([available & taken, labelled]), jnp.concatenate([free, jnp.zeros_like(labelled)])
            logits = discriminated(train_key, both, *sides, steps)[: len(rows)]
            logits = jnp.where(sides[0].any(), logits, 0.0)
            # Rows that are taken come last of all, for there may be fewer available ones than the batch has.
            chosen, scores = best(tie_key, jnp.where(taken, -jnp.inf, logits), free, size)
            return taken.at[chosen].set(True), (chosen, scores)

        shares = jax.random.split(key, -(-batch_size // size))
        _, (chosen, scores) = jax.lax.scan(share, jnp.zeros(len(available), bool), shares)
        return Acquired(chosen.reshape(-1)[:batch_size], scores.reshape(-1)[:batch_size])

    return Acquisition(summarised(features), select, of_labelled(features))


def standardised(rows: Float[Array, "n D"], known: Float[Array, "M D"], available: Bool[Array, " n"]) -> Array:
    """All rows, those of the pool first, less the available ones' mean and over their standard deviation."""
    weight = available[:, None] / jnp.maximum(available.sum(), 1)
    mean = jnp.sum(weight * rows, axis=0)
    deviation = jnp.sqrt(jnp.sum(weight * jnp.square(rows - mean), axis=0))
    return (jnp.concatenate([rows, known]) - mean) / jnp.where(deviation > 0, deviation, 1.0)


def discriminated(
    key: PRNGKey, rows: Float[Array, "n D"], labelled: Bool[Array, " n"], others: Bool[Array, " n"], steps: int
) -> Float[Array, " n"]:
    """Logits of not being labelled, of a classifier that is trained from scratch."""
    init_key, draw_key = jax.random.split(key)
    params = CLASSIFIER.init(init_key, rows[:1])["params"]
    order = [jnp.argsort(~side, stable=True) for side in (labelled, others)]
    counts = [jnp.maximum(side.sum(), 1) for side in (labelled, others)]
    targets = jnp.repeat(jnp.array([0.0, 1.0]), HALF)

    def logits_of(params: Any, x: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return jnp.asarray(CLASSIFIER.apply({"params": params}, x))[:, 0]

    def loss(params: Any, x: Array) -> tuple[Array, Array]:
        logits = logits_of(params, x)
        return optax.sigmoid_binary_cross_entropy(logits, targets).mean(), jnp.mean((logits > 0) == (targets > 0))

    def going(state: Any) -> Array:
        return (state[0] < steps) & (state[3] < ACCURACY)

    def step(state: Any) -> Any:
        index, params, moments, accuracy = state
        keys = jax.random.split(jax.random.fold_in(draw_key, index))
        drawn = [o[jax.random.randint(k, (HALF,), 0, c)] for k, o, c in zip(keys, order, counts, strict=True)]
        (_, now), gradient = jax.value_and_grad(loss, has_aux=True)(params, rows[jnp.concatenate(drawn)])
        updates, moments = OPTIMISER.update(gradient, moments, params)
        return index + 1, optax.apply_updates(params, updates), moments, 0.9 * accuracy + 0.1 * now

    begin = jnp.zeros((), jnp.int32), params, OPTIMISER.init(params), jnp.zeros(())
    return logits_of(jax.lax.while_loop(going, step, begin)[1], rows)
