"""The laws of a posterior."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from al_jax.models.forward import num_rows
from al_jax.testing.laws import buffer, close, finite, law, lowered, same
from al_jax.types import Data, GaussianPredictions, Inputs, Pool, Posterior, Predictions


def check_posterior(posterior: Posterior, inputs: Inputs, labels: Any, *, lowers: bool = True) -> None:
    """Run the laws of a posterior on rows `inputs [n, ...]` with their `labels [n]`, at least 8 of them.

    `fit` returns the structure `init` has; same key, same state; `count` may be traced, and 0 changes nothing; rows
    past `count` have no influence, be they NaN; `vmap` over keys works; predictions are distributions; one draw is one
    function whatever the chunk and the rows beside it; `point` does not depend on the draws; `head`, where there is
    one, makes `point` of the features; fit and predict lower for TPU and CUDA unless `lowers` is False. Three rows are
    the pool.
    """
    x, y = jax.tree.map(jnp.asarray, inputs), jnp.asarray(labels)
    size = num_rows(x)
    if size < 8 or len(y) != size:
        raise ValueError(f"inputs has {size} rows and labels {len(y)}: expected equally many, at least 8")
    count = size - 3
    keys = jax.random.split(jax.random.key(0), 2)
    init_key, fit_key, sample_key = jax.random.split(jax.random.key(1), 3)
    start = jax.jit(posterior.init)(init_key, x)
    pool = Pool(x, jnp.arange(size) >= count)
    fit = jax.jit(
        lambda key, state, labelled: posterior.fit(key, state, Data(labelled, buffer(x, y, 0, jnp.zeros(())), pool))
    )
    known = buffer(jax.tree.map(lambda leaf: leaf[:count], x), y[:count], 3, jnp.zeros(()))
    state, info = fit(fit_key, start, known)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (start, state)]
    law("fit returns the structure that init has", shapes[0] == shapes[1], *shapes)
    law("info says whether the fit is finite", "finite" in info and bool(info["finite"]), "finite", info)
    law("same key, same state", same(state, fit(fit_key, start, known)[0]), fit_key, state)
    broken = buffer(jax.tree.map(lambda leaf: leaf[:count], x), y[:count], 3, jnp.asarray(jnp.nan))
    law("rows past count have no influence", same(state, fit(fit_key, start, broken)[0]), count, "padding of NaN")
    empty, empty_info = fit(fit_key, start, known._replace(count=jnp.zeros((), jnp.int32)))
    law("count = 0 leaves the state unchanged", same(empty, start) and bool(empty_info["finite"]), 0, empty)
    several, _ = jax.jit(jax.vmap(lambda key: posterior.fit(key, start, Data(known, known, pool))))(keys)
    law("vmap(fit) over keys works", finite(several), keys, several)

    draws = posterior.sample(sample_key, state, 4)

    @jax.jit
    def predict(*args: Any) -> Any:
        with jax.default_matmul_precision("highest"):  # as a round does
            return posterior.predict(*args)

    whole = predict(state, draws, x)
    names = ["point", "features"]
    if isinstance(whole, GaussianPredictions):
        names += ["mean", "variance", "point_variance"]
        law("finite means and variances", finite(whole), "finite", whole)
        law("positive variances", bool((whole.variance > 0).all() and (whole.point_variance > 0).all()), 0, whole)
        sampled = whole.mean[..., None]
    else:
        names, sampled = [*names, "log_probs"], whole.log_probs
        for name, value in (("log_probs", whole.log_probs), ("point", whole.point)):
            total = jnp.exp(value).sum(-1)
            close(f"{name} are normalised", total, np.ones(total.shape), value)
    law("K samples of every row", sampled.ndim >= 3 and len(sampled) == size, size, sampled.shape)
    cut = size // 3
    parts = [predict(state, draws, jax.tree.map(lambda leaf, s=s: leaf[s], x)) for s in (slice(cut), slice(cut, None))]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    for name in names:
        if getattr(whole, name) is not None:
            close(
                f"one draw is one function ({name})", getattr(joined, name), getattr(whole, name), f"cut at row {cut}"
            )
    order = np.random.default_rng(0).permutation(size)
    shuffled = predict(state, draws, jax.tree.map(lambda leaf: leaf[order], x))
    first = jax.tree.leaves(whole.samples)[0]
    close("a row's prediction does not depend on its place", jax.tree.leaves(shuffled.samples)[0], first[order], order)
    other = predict(state, posterior.sample(jax.random.key(2), state, 4), x)
    close("point does not depend on the draws", other.point, whole.point, "another key")
    if posterior.head is not None and isinstance(whole, Predictions) and whole.features is not None:
        outputs = posterior.head(state, x, whole.features)
        close("the head makes of features what point is", jax.nn.log_softmax(outputs), whole.point, "features")
    if lowers:
        lowered(lambda k, s, known: posterior.fit(k, s, Data(known, known, pool)), fit_key, start, known)
        lowered(posterior.predict, state, draws, x)
