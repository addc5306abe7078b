"""Batches balanced by predicted class."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.combinators.parts import alongside, as_acquisition
from al_jax.acquisitions.toolbox.reading import marginal_of
from al_jax.acquisitions.top_k import has_one_score
from al_jax.memo import memoised
from al_jax.pool import best, check_batch_size
from al_jax.types import Acquired, Acquisition, PRNGKey, Round, ScoreFn


@memoised
def per_class_quota(acquisition: ScoreFn | Acquisition) -> Acquisition:
    """As many rows of every predicted class as there are: each class in turn gives its next best row.

    The class of a row is argmax_c E_w p(c|x, w), the first of equals. In the k-th turn every class with rows left gives
    the k-th row that the acquisition chooses among its rows; a last turn that does not fit into the batch goes to the
    highest scores. So two classes differ by at most one row, but for classes that have no rows left. Labelled rows are
    not counted.

    `Acquired.scores` are the acquisition's. Cost: two sorts for a score; for a method that chooses whole batches C of
    its selections of B rows, one after the other. Memory: 4 bytes a row, C bytes for a batch method. `info` of the
    acquisition is dropped.
    """
    part = as_acquisition(acquisition)

    def predicted(predictions: Any) -> Array:
        return jnp.argmax(marginal_of(predictions, "per_class_quota"), axis=-1)

    def is_predicted(predictions: Any) -> Array:
        marginal = marginal_of(predictions, "per_class_quota")
        return jnp.argmax(marginal, axis=-1)[..., None] == jnp.arange(marginal.shape[-1])

    def of_scores(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        scores, classes = summary
        check_batch_size(batch_size, len(scores))
        group = jnp.where(available, 0, 1).astype(jnp.int8)
        ties = jax.random.uniform(key, scores.shape)
        columns = group, classes, -scores, ties, jnp.arange(len(scores))
        group, classes, *rest = jax.lax.sort(columns, num_keys=4)
        place = jnp.arange(len(scores))
        new = jnp.append(True, (classes[1:] != classes[:-1]) | (group[1:] != group[:-1]))
        turn = place - jax.lax.cummax(jnp.where(new, place, 0))
        chosen = jax.lax.sort((group, turn, *rest), num_keys=4)[-1][:batch_size]
        return Acquired(chosen, jnp.where(available[chosen], scores[chosen], -jnp.inf))

    def of_batches(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        inner, is_class = summary
        size = len(available)
        tie_key, fill_key, class_key = jax.random.split(key, 3)

        def of_class(given: tuple[Array, Array]) -> tuple[Array, ...]:
            own_key, members = given
            picked = part.select(own_key, round, inner, available & members, batch_size)
            valid = (available & members)[picked.indices]
            return ~valid, jnp.cumsum(valid), -picked.scores, picked.indices

        keys = jax.random.split(class_key, is_class.shape[1])
        invalid, turn, score, rows = (a.reshape(-1) for a in jax.lax.map(of_class, (keys, is_class.T)))
        columns = invalid, turn, score, jax.random.uniform(tie_key, score.shape), rows
        invalid, _, score, _, rows = (a[:batch_size] for a in jax.lax.sort(columns, num_keys=4))
        rows = jnp.where(invalid, size, rows)  # beyond the last: dropped
        place = jnp.full(size, -jnp.inf).at[rows].set(-jnp.arange(batch_size, dtype=jnp.float32), mode="drop")
        scores = jnp.full(size, -jnp.inf).at[rows].set(-score, mode="drop")
        chosen, _ = best(fill_key, place, available, batch_size)
        return Acquired(chosen, jnp.where(available[chosen], scores[chosen], -jnp.inf))

    if has_one_score(part):
        return alongside(part, predicted, of_scores)
    return alongside(part, is_predicted, of_batches)
