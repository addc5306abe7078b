"""Switch: one method while labels are few, another one after that."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.combinators.parts import as_acquisition, joined, view
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round, ScoreFn, nothing


@memoised
def switch(labels: int, first: ScoreFn | Acquisition, then: ScoreFn | Acquisition) -> Acquisition:
    """`first` while fewer than `labels` rows are labelled, `then` after that: low budget, high budget (Hacohen 2022).

    One program serves both phases. Cost: only the method whose turn it is predicts, prepares and selects; under `vmap`
    over seeds (on accelerators, and wherever seeds are not run one by one) `lax.cond` becomes a choice between results,
    and both do. Memory: both summaries and contexts, always; those of the other method are zeros. `init` of both runs
    once a campaign. `info["part"]` is 0 or 1; other `info` of the parts is dropped. ValueError for `labels` below 0,
    and for parts with different shortlists: `prefilter` the switch instead.
    """
    if labels < 0:
        raise ValueError(f"labels={labels}: expected at least 0")
    parts = as_acquisition(first), as_acquisition(then)

    def one_of(round: Round, of_part: Callable[[int], Any]) -> tuple[Any, Any]:
        """`of_part` of the method whose turn it is, and zeros in the place of the other's."""
        zeros = [
            jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda i=i: of_part(i)))
            for i in range(2)
        ]
        early = round.data.labelled.count < labels
        return jax.lax.cond(early, lambda: (of_part(0), zeros[1]), lambda: (zeros[0], of_part(1)))

    def prepare(key: PRNGKey, round: Round) -> tuple[Any, Any]:
        return one_of(round, lambda i: parts[i].prepare(jax.random.fold_in(key, i), view(round, i)))

    def summarise(round: Round, x: Inputs, rows: Array) -> tuple[Any, Any]:
        return one_of(round, lambda i: parts[i].summarise(view(round, i), x, rows))

    def select(key: PRNGKey, round: Round, summary: tuple, available: Array, batch_size: int) -> Acquired:
        def of_part(i: int) -> Acquired:
            picked = parts[i].select(key, view(round, i), summary[i], available, batch_size)
            part = jnp.full(batch_size, i, jnp.int32)
            return Acquired(picked.indices.astype(jnp.int32), picked.scores.astype(jnp.float32), {"part": part})

        early = round.data.labelled.count < labels
        return jax.lax.cond(early, lambda: of_part(0), lambda: of_part(1))

    both = joined(parts, select)
    return both._replace(summarise=summarise, prepare=nothing if both.prepare is nothing else prepare)
