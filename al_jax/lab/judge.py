"""What acquisitions would pick in a recorded round: its predictions, computed again from the snapshot."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from al_jax import campaign
from al_jax.acquisitions import batchbald
from al_jax.data.dataset import take
from al_jax.engine import lowering, parallel
from al_jax.engine.cycle import steps
from al_jax.engine.learning import Sizes
from al_jax.engine.state import keys
from al_jax.information import log_marginal, mutual_information
from al_jax.lab.recorded import Ready, Snapshot, splits
from al_jax.likelihood import categorical
from al_jax.mesh import one_by_one_on_cpu
from al_jax.pool import candidates
from al_jax.types import Acquisition, Data, Inputs, Labelled, Learned, Pool

Values: TypeAlias = Array | np.ndarray


class Judged(NamedTuple):
    """What an acquisition does in one round of every seed, on the host; a leading axis for seeds."""

    rows: Int[Values, "S B"]
    scores: Float[Values, "S B"]
    valid: Bool[Values, "S B"]
    pool: Float[Values, "S N"]  # the score of every available row; NaN where it was not offered, or there is no score
    single: Float[Values, " S"]  # sum of the batch's I(y_i; w), in nats
    mean: Float[Values, "S B C"]  # predictive probabilities of the batch
    spread: Float[Values, "S B C"]  # their standard deviation over posterior samples
    information: Float[Values, " S"]  # I(y_1..y_B; w) of the batch, in nats


def judge(
    ready: Ready, acquisitions: Mapping[str, Acquisition], seeds: list[int], configurations: int = 1000
) -> Callable[[str, int, Snapshot], Judged]:
    """What `(name, round, snapshot of these seeds)` would have done, or did; each is compiled when first named.

    The keys of a round follow from the seed, the rest is in the snapshot: with the campaign's own acquisition the rows
    are those that it acquired. Nothing is trained. `configurations` are those of BatchBALD's estimate, by which the
    information of a batch is found; of 10 digits with K = 50 to some 0.1 nats by 1000 of them, 0.04 by 4000.
    """
    settings, dataset = dataclasses.replace(ready.settings, seeds=len(seeds), mode="replicas"), ready.dataset
    layout = campaign.layout_of(settings)
    typed = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    inputs = parallel.replicate(dataset.inputs, layout)
    validation = parallel.replicate(splits(dataset)[0], layout)
    compiled: dict[str, Any] = {}

    def compile_once(name: str, function: Callable, mapped: tuple[bool, ...], *args: Any) -> Any:
        if name not in compiled:
            one_by_one = one_by_one_on_cpu(function)
            compiled[name] = lowering.compile_over_seeds(one_by_one, layout, mapped, *args)
        return compiled[name](*args)

    def run(name: str, number: int, snapshot: Snapshot) -> Judged:
        rows = snapshot.rows
        ones = np.ones(rows.shape, np.float32)
        arrays: tuple[Any, ...] = (take(dataset.inputs, rows), dataset.labels[rows], ones, rows, snapshot.num_labelled)
        arguments = typed, np.full(len(rows), number, np.int32), Labelled(*arrays), snapshot.posterior
        found = []
        for group in parallel.split(arguments, layout):
            of_seed = round_of(ready, acquisitions[name])
            judged, log_probs = compile_once(f"round of {name}", of_seed, MAPPED, *group, inputs, validation)
            told = compile_once("information", lambda x: information(x, configurations), (True,), log_probs)
            found.append(judged._replace(information=told))
        return parallel.join(found, layout)

    return run


MAPPED = (True,) * 4 + (False,) * 2
"""Which arguments of `round_of` have an axis for seeds."""


def round_of(ready: Ready, acquisition: Acquisition) -> Callable[..., tuple[Judged, Array]]:
    """What comes after the fit in a round of one seed, and the picks' log-probabilities [B, K, C]."""
    settings, size = ready.settings, len(ready.dataset.labels)
    chunk_size, capacity = settings.chunk_size or campaign.DEFAULT_CHUNK, settings.max_labels + settings.batch_size
    step = steps(
        ready.posterior,
        acquisition,
        categorical(),
        Sizes(
            batch_size=settings.batch_size,
            num_samples=settings.num_samples,
            max_labels=settings.max_labels,
            chunk_size=chunk_size,
            pool_subset=settings.pool_subset,
        ),
    )

    def of_seed(
        key: Array, number: Array, labelled: Labelled, posterior: Any, inputs: Inputs, validation: Labelled | None
    ) -> tuple[Judged, Array]:
        known = jnp.arange(capacity) < labelled.count
        # Rows past count are sent beyond the end, where nothing is set.
        available = jnp.ones(size, bool).at[jnp.where(known, labelled.rows, size)].set(False, mode="drop")
        initial = labelled.inputs, labelled.rows, labelled.labels
        first = jax.tree.map(lambda leaf: leaf[: settings.initial_labels], initial)
        state = step.start(key, *first, jnp.ones(size, bool))
        memory = step.remember(key, state.available, inputs)
        state = state._replace(round=number, labelled=labelled, available=available, posterior=posterior, memory=memory)
        data = Data(labelled, validation, Pool(inputs, available))
        begun = step.begin(state, data)
        round = step.as_round(state, data, begun)
        pool_key = keys(state).pool
        offered = candidates(pool_key, acquisition, round, inputs, available, chunk_size, settings.pool_subset)
        picked = step.finish(state, Learned({}, {}), data, begun, offered.rows, offered.summary)
        scores = jnp.full(size, jnp.nan).at[offered.rows].set(pointwise(offered.summary))
        log_probs = round.functions(jax.tree.map(lambda leaf: leaf[picked.rows], inputs)).log_probs
        judged = Judged(
            rows=picked.rows,
            scores=picked.scores,
            valid=picked.valid,
            pool=jnp.where(available, scores, jnp.nan),
            single=jnp.sum(mutual_information(log_probs)),
            mean=jnp.exp(log_marginal(log_probs)),
            spread=jnp.std(jnp.exp(log_probs), axis=-2),
            information=jnp.zeros(()),
        )
        return judged, log_probs

    return of_seed


def of_seeds(snapshot: Snapshot, indices: list[int]) -> Snapshot:
    """The snapshot of some of its seeds."""
    return jax.tree.map(lambda leaf: leaf[indices], snapshot)


def pointwise(summary: Any) -> Array:
    """A score for every row where the acquisition's summary is one, otherwise NaN."""
    leaves = jax.tree.leaves(summary)
    if len(leaves) == 1 and leaves[0].ndim == 1 and jnp.issubdtype(leaves[0].dtype, jnp.floating):
        return leaves[0]
    return jnp.full(len(leaves[0]), jnp.nan)


def information(log_probs: Array, configurations: int) -> Array:
    """I(y_1..y_B; w) of rows `[B, K, C]`, in nats: BatchBALD's score of a batch when it has to take them all."""
    everything = jnp.ones(len(log_probs), bool)
    nothing: Any = None  # it looks at the summary alone
    acquired = batchbald(configurations).select(jax.random.key(0), nothing, log_probs, everything, len(log_probs))
    return acquired.scores[-1]
