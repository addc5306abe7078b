"""The laws that every score, acquisition and posterior obeys, to be run on anything of that kind, your own included.

Each check raises AssertionError with the law that broke and a counterexample, and returns None when all hold.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array

from al_jax.models.forward import num_rows
from al_jax.pool import candidates
from al_jax.types import (
    Acquired,
    Acquisition,
    Data,
    GaussianPredictions,
    Inputs,
    Labelled,
    Pool,
    Posterior,
    Predictions,
    PRNGKey,
    Round,
    ScoreFn,
)

TOLERANCE = 1e-5


def check_score(
    score: ScoreFn,
    *,
    low: Callable[[int, int], float] | None = None,
    high: Callable[[int, int], float] | None = None,
    seed: int = 0,
) -> None:
    """Run the laws of a pointwise score `log_probs [..., K, C] -> [...]`.

    Shape for any leading axes; finite at probabilities 0 and 1, at logits of +-1e4 and for K = 1; invariant to the
    order of samples and of classes; equivariant to the order of rows; the same under jit, vmap and float64; and, where
    they are given, `low(K, C) <= score <= high(K, C)`.
    """
    generator = np.random.default_rng(seed)
    jitted, mapped = jax.jit(score), jax.jit(jax.vmap(score))
    for name, log_probs in score_examples(generator).items():
        scores = np.asarray(jitted(log_probs))
        num_samples, num_classes = log_probs.shape[-2:]
        _law("shape [..., K, C] -> [...]", scores.shape == log_probs.shape[:-2], log_probs.shape, scores.shape)
        for row in np.ndindex(scores.shape):
            _law(f"finite {name}", bool(np.isfinite(scores[row])), log_probs[row], scores[row])
            if low is not None:
                _law("lower bound", bool(scores[row] >= low(num_samples, num_classes)), log_probs[row], scores[row])
            if high is not None:
                limit = high(num_samples, num_classes) + 1e-6
                _law("upper bound", bool(scores[row] <= limit), log_probs[row], scores[row])
        for axis, what in ((-2, "samples"), (-1, "classes")):
            order = generator.permutation(log_probs.shape[axis])
            shuffled = jitted(np.take(log_probs, order, axis))
            _close(f"invariant to the order of {what}", shuffled, scores, log_probs)
        if scores.ndim:
            order = generator.permutation(len(scores))
            _close("equivariant to the order of rows", jitted(log_probs[order]), scores[order], log_probs)
            _close("the same under vmap", mapped(log_probs), scores, log_probs)
        else:
            _close("the same under jit", score(jnp.asarray(log_probs)), scores, log_probs)
        with jax.enable_x64(True):
            double = np.asarray(jitted(log_probs.astype(np.float64)))
            _law("float64 in, float64 out", double.dtype == np.float64, log_probs.dtype, double.dtype)
        _close("the same in float64", double, scores, log_probs)


def score_examples(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """log-probabilities that scores must bear, by what is special about them."""

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        return np.asarray(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)))

    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(4, dtype=np.float32)[generator.integers(0, 4, (6, 5))])
        partly = np.log(
            np.array([0.5, 0.5, 0.0, 0.0], np.float32)[generator.permuted(np.tile(np.arange(4), (6, 5, 1)), axis=-1)]
        )
    return {
        "for ordinary predictions": log_softmax(generator.normal(size=(6, 5, 4)) * 2),
        "for one row": log_softmax(generator.normal(size=(5, 4))),
        "for two leading axes": log_softmax(generator.normal(size=(2, 3, 5, 4))),
        "for K = 1": log_softmax(generator.normal(size=(6, 1, 4))),
        "for two classes and many samples": log_softmax(generator.normal(size=(6, 40, 2)) * 3),
        "for uniform predictions": log_softmax(np.zeros((6, 5, 4))),
        "at probabilities 0 and 1": certain,
        "at some probabilities 0": partly,
        "at logits of +-1e4": log_softmax(generator.choice([-1e4, 1e4], (6, 5, 4))),
    }


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
    if posterior is None:
        predict: Callable[[Inputs], Any] = committee
    else:
        state = posterior.init(jax.random.key(1), x)
        draws = posterior.sample(jax.random.key(2), state, 6)

        def predict(x: Inputs) -> Any:
            return posterior.predict(state, draws, x)

    def acquired(key: PRNGKey, available: Array, padding: Array, chunk_size: int) -> Acquired:
        labelled = _buffer(jax.tree.map(lambda leaf: leaf[:known], x), jnp.arange(known) % 2, 5, padding)
        pool_key, select_key, init_key, round_key, prepare_key = jax.random.split(key, 5)
        pool = Pool(x, available)
        round = Round(round_key, predict, Data(labelled, None, pool), acquisition.init(init_key, pool))
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
        _law("exactly B positions and scores", indices.shape == scores.shape == (batch_size,), batch_size, indices)
        _law("positions in range", bool(((indices >= 0) & (indices < size)).all()), size, indices)
        _law("never a row twice", len(set(indices.tolist())) == batch_size, np.asarray(available), indices)
        chosen = np.asarray(available)[indices]
        left = min(batch_size, int(available.sum()))
        _law("never an unavailable row while one is left", chosen.sum() == left, np.asarray(available), indices)
        _law("-inf beyond the available rows", bool(np.isneginf(scores[~chosen]).all()), indices, scores)
        _law("no NaN score", not np.isnan(scores).any(), indices, scores)
    picked = run(key, unlabelled, zero, size)
    again = run(key, unlabelled, zero, size)
    _law("a function of its key", _same(picked.indices, again.indices), picked.indices, again.indices)
    padded = run(key, unlabelled, jnp.asarray(jnp.nan), size)
    _law("padding has no influence", _same(picked, padded), picked, padded)
    chunked = run(key, unlabelled, zero, 5)
    _close("scores do not depend on the chunk size", chunked.scores, picked.scores, picked.indices)
    keys = jnp.stack([key, jax.random.key(4)])
    mapped = jax.jit(jax.vmap(lambda k: acquired(k, unlabelled, zero, size)))(keys)
    _close("the same under vmap", mapped.scores[0], picked.scores, picked.indices)
    if lowers:
        text = lowered(lambda k, a: acquired(k, a, zero, size), key, unlabelled)
        if posterior is None:
            products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
            low = [line for line in products if "HIGHEST" not in line]
            _law("matrix products in full precision on TPU", not low, "precision=HIGHEST", low[:1])


def committee(x: Array) -> Predictions:
    """Predictions of 6 random linear models over 3 classes for `x [n, d]`, in full precision."""
    weights = jax.random.normal(jax.random.key(5), (6, x.shape[-1], 3))
    logits = jnp.einsum("nd,kdc->nkc", x, weights, precision="highest")
    return Predictions(jax.nn.log_softmax(logits), jax.nn.log_softmax(logits[:, 0]), jnp.tanh(x))


def check_posterior(posterior: Posterior, inputs: Inputs, labels: Any, *, lowers: bool = True) -> None:
    """Run the laws of a posterior on rows `inputs [n, ...]` with their `labels [n]`, at least 8 of them.

    `fit` returns the structure `init` has; same key, same state; `count` may be traced, and 0 changes nothing; rows
    past `count` have no influence, be they NaN; `vmap` over keys works; predictions are distributions; one draw is one
    function whatever the chunk and the rows beside it; `point` does not depend on the draws; fit and predict lower for
    TPU and CUDA unless `lowers` is False.
    """
    x, y = jax.tree.map(jnp.asarray, inputs), jnp.asarray(labels)
    size = num_rows(x)
    if size < 8 or len(y) != size:
        raise ValueError(f"inputs has {size} rows and labels {len(y)}: expected equally many, at least 8")
    count = size - 3
    keys = jax.random.split(jax.random.key(0), 2)
    init_key, fit_key, sample_key = jax.random.split(jax.random.key(1), 3)
    start = jax.jit(posterior.init)(init_key, x)
    fit = jax.jit(
        lambda key, state, labelled: posterior.fit(key, state, Data(labelled, _buffer(x, y, 0, jnp.zeros(()))))
    )
    known = _buffer(jax.tree.map(lambda leaf: leaf[:count], x), y[:count], 3, jnp.zeros(()))
    state, info = fit(fit_key, start, known)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (start, state)]
    _law("fit returns the structure that init has", shapes[0] == shapes[1], *shapes)
    _law("info says whether the fit is finite", "finite" in info and bool(info["finite"]), "finite", info)
    _law("same key, same state", _same(state, fit(fit_key, start, known)[0]), fit_key, state)
    broken = _buffer(jax.tree.map(lambda leaf: leaf[:count], x), y[:count], 3, jnp.asarray(jnp.nan))
    _law("rows past count have no influence", _same(state, fit(fit_key, start, broken)[0]), count, "padding of NaN")
    empty, empty_info = fit(fit_key, start, known._replace(count=jnp.zeros((), jnp.int32)))
    _law("count = 0 leaves the state unchanged", _same(empty, start) and bool(empty_info["finite"]), 0, empty)
    several, _ = jax.jit(jax.vmap(lambda key: posterior.fit(key, start, Data(known, known))))(keys)
    _law("vmap(fit) over keys works", _finite(several), keys, several)

    draws = posterior.sample(sample_key, state, 4)
    predict = jax.jit(posterior.predict)
    whole = predict(state, draws, x)
    names = ["point", "features"]
    if isinstance(whole, GaussianPredictions):
        names += ["mean", "variance", "point_variance"]
        _law("finite means and variances", _finite(whole), "finite", whole)
        _law("positive variances", bool((whole.variance > 0).all() and (whole.point_variance > 0).all()), 0, whole)
        sampled = whole.mean[..., None]
    else:
        names, sampled = [*names, "log_probs"], whole.log_probs
        for name, value in (("log_probs", whole.log_probs), ("point", whole.point)):
            total = jnp.exp(value).sum(-1)
            _close(f"{name} are normalised", total, np.ones(total.shape), value)
    _law("K samples of every row", sampled.ndim >= 3 and len(sampled) == size, size, sampled.shape)
    cut = size // 3
    parts = [predict(state, draws, jax.tree.map(lambda leaf, s=s: leaf[s], x)) for s in (slice(cut), slice(cut, None))]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    for name in names:
        if getattr(whole, name) is not None:
            _close(
                f"one draw is one function ({name})", getattr(joined, name), getattr(whole, name), f"cut at row {cut}"
            )
    order = np.random.default_rng(0).permutation(size)
    shuffled = predict(state, draws, jax.tree.map(lambda leaf: leaf[order], x))
    first = jax.tree.leaves(whole.samples)[0]
    _close("a row's prediction does not depend on its place", jax.tree.leaves(shuffled.samples)[0], first[order], order)
    other = predict(state, posterior.sample(jax.random.key(2), state, 4), x)
    _close("point does not depend on the draws", other.point, whole.point, "another key")
    if lowers:
        lowered(lambda k, s, known: posterior.fit(k, s, Data(known, known)), fit_key, start, known)
        lowered(posterior.predict, state, draws, x)


def lowered(function: Callable, *args: Any) -> str:
    """The program of `function` lowered for TPU and CUDA, as text; raises where an operation has no such lowering."""
    return export.export(jax.jit(function), platforms=("tpu", "cuda"))(*args).mlir_module()


def _buffer(inputs: Inputs, labels: Array, padding: int, value: Array) -> Labelled:
    """A labelled buffer of these rows and `padding` slots that hold `value` (0 in integer arrays)."""

    def extend(leaf: Array) -> Array:
        fill = jnp.nan_to_num(value, nan=0.0) if not jnp.issubdtype(leaf.dtype, jnp.floating) else value
        return jnp.concatenate([leaf, jnp.broadcast_to(fill.astype(leaf.dtype), (padding, *leaf.shape[1:]))])

    count = len(labels)
    weights = jnp.ones(count + padding)
    rows = jnp.where(jnp.arange(count + padding) < count, jnp.arange(count + padding), -1)
    return Labelled(jax.tree.map(extend, inputs), extend(labels), weights, rows, jnp.asarray(count, jnp.int32))


def _law(name: str, holds: bool | np.bool_, given: Any, got: Any) -> None:
    if not holds:
        raise AssertionError(f"broken law: {name}\n  given: {given}\n  got: {got}")


def _close(name: str, got: Any, expected: Any, given: Any) -> None:
    close = np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=False)
    _law(name, close, given, f"{got} where {expected} was expected")


def _same(a: Any, b: Any) -> bool:
    """Bitwise equality of two pytrees; NaN equals NaN."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(left, right, equal_nan=True) for left, right in pairs)


def _finite(tree: Any) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))
