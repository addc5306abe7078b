"""The laws of an acquisition."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from al_jax.models.forward import num_rows
from al_jax.pool import candidates
from al_jax.testing.laws import buffer, close, law, lowered, same
from al_jax.types import Acquired, Acquisition, Data, Inputs, Pool, Posterior, Predictions, PRNGKey, Round


def check_acquisition(
    acquisition: Acquisition,
    posterior: Posterior | None = None,
    inputs: Inputs | None = None,
    *,
    batch_size: int = 4,
    lowers: bool = True,
) -> None:
    """Run the laws of an acquisition on predictions of `posterior` for `inputs [N, ...]`, or of a made-up committee.

    Exactly B positions, distinct and in range; never an unavailable row while an available one is left, and -inf
    beyond; a function of its key; padding of the labelled buffer without influence; the same scores whatever the chunk
    size; the same under vmap; with the committee, every matrix product in full float32 precision; lowers for TPU and
    CUDA unless `lowers` is False (an acquisition that needs the host).
    """
    if (posterior is None) != (inputs is None):
        raise ValueError("posterior and inputs: give both or neither")
    x = jax.random.normal(jax.random.key(0), (24, 5)) if inputs is None else jax.tree.map(jnp.asarray, inputs)
    size, known = num_rows(x), 3
    if size < known + 2 * batch_size:
        raise ValueError(f"inputs has {size} rows: expected at least {known + 2 * batch_size}")
    head: Callable[[Array], Array] | None = committee_head
    if posterior is None:
        predict: Callable[[Inputs], Any] = committee
    else:
        state = posterior.init(jax.random.key(1), x)
        draws = posterior.sample(jax.random.key(2), state, 6)

        head = None if posterior.head is None else partial(posterior.head, state, x)

        def predict(x: Inputs) -> Any:
            return posterior.predict(state, draws, x)

    def acquired(key: PRNGKey, available: Array, padding: Array, chunk_size: int) -> Acquired:
        labelled = buffer(jax.tree.map(lambda leaf: leaf[:known], x), jnp.arange(known) % 2, 5, padding)
        pool_key, select_key, init_key, round_key, prepare_key = jax.random.split(key, 5)
        pool = Pool(x, available)
        round = Round(round_key, predict, Data(labelled, None, pool), acquisition.init(init_key, pool), None, head)
        round = round._replace(context=acquisition.prepare(prepare_key, round))
        offered = candidates(pool_key, acquisition, round, x, available, chunk_size)
        picked = acquisition.select(select_key, round, offered.summary, offered.available, batch_size)
        return picked._replace(indices=offered.rows[picked.indices])

    run = jax.jit(acquired, static_argnums=3)
    unlabelled = jnp.arange(size) >= known
    few = unlabelled & (jnp.arange(size) < known + batch_size - 2)
    some = unlabelled & (jnp.arange(size) % 2 == 0)
    key, zero = jax.random.key(3), jnp.zeros(())
    for available in (unlabelled, some, few):
        picked = run(key, available, zero, size)
        indices, scores = np.asarray(picked.indices), np.asarray(picked.scores)
        law("exactly B positions and scores", indices.shape == scores.shape == (batch_size,), batch_size, indices)
        law("positions in range", bool(((indices >= 0) & (indices < size)).all()), size, indices)
        law("never a row twice", len(set(indices.tolist())) == batch_size, np.asarray(available), indices)
        chosen = np.asarray(available)[indices]
        left = min(batch_size, int(available.sum()))
        law("never an unavailable row while one is left", chosen.sum() == left, np.asarray(available), indices)
        law("-inf beyond the available rows", bool(np.isneginf(scores[~chosen]).all()), indices, scores)
        law("no NaN score", not np.isnan(scores).any(), indices, scores)
    picked = run(key, unlabelled, zero, size)
    again = run(key, unlabelled, zero, size)
    law("a function of its key", same(picked.indices, again.indices), picked.indices, again.indices)
    padded = run(key, unlabelled, jnp.asarray(jnp.nan), size)
    law("padding has no influence", same(picked, padded), picked, padded)
    chunked = run(key, unlabelled, zero, 5)
    close("scores do not depend on the chunk size", chunked.scores, picked.scores, picked.indices)
    keys = jnp.stack([key, jax.random.key(4)])
    mapped = jax.jit(jax.vmap(lambda k: acquired(k, unlabelled, zero, size)))(keys)
    close("the same under vmap", mapped.scores[0], picked.scores, picked.indices)
    if lowers:
        text = lowered(lambda k, a: acquired(k, a, zero, size), key, unlabelled)
        if posterior is None:
            products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
            low = [line for line in products if "HIGHEST" not in line]
            law("matrix products in full precision on TPU", not low, "precision=HIGHEST", low[:1])


def committee_head(features: Array) -> Array:
    """A linear layer on the features of `committee`, in full precision."""
    weights = jax.random.normal(jax.random.key(6), (features.shape[-1], 3))
    return jnp.matmul(features, weights, precision="highest")


def committee(x: Array) -> Predictions:
    """Predictions of 6 random linear models over 3 classes for `x [n, d]`, in full precision; with extras."""
    weights = jax.random.normal(jax.random.key(5), (6, x.shape[-1], 3))
    logits = jnp.einsum("nd,kdc->nkc", x, weights, precision="highest")
    extras = {"loss": x.sum(-1), "critic": x[:, 0]}  # what some posteriors learn beside
    return Predictions(jax.nn.log_softmax(logits), jax.nn.log_softmax(logits[:, 0]), jnp.tanh(x), extras)
