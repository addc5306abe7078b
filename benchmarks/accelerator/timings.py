"""How fast it is: products, training steps, scores, whole methods and campaigns. FLOPs by hand or by XLA."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from al_jax import campaign, data, models, posteriors
from al_jax.acquisitions import acquire, bald, batchbald, core_set, entropy, mean_std, random, top_k
from al_jax.campaign import Settings
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.pool import best, stream
from al_jax.training import adam, early_stopping, training
from al_jax.types import Data, Labelled, Round
from benchmarks.accelerator.shown import peak

KEY = jax.random.key(0)
NETWORKS = {
    "gal_cnn": (models.GalCNN, (28, 28, 1), 128),
    "batchbald_cnn": (models.BatchBALDCNN, (28, 28, 1), 64),
    "resnet18": (models.ResNet18, (32, 32, 3), 128),
}


def timed(function: Callable, *args: Any, repeats: int = 3) -> tuple[float, float]:
    """Median seconds of a call, and seconds to compile it."""
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compiling = time.perf_counter() - began
    jax.block_until_ready(compiled(*args))
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)), compiling


def flops(function: Callable, *args: Any) -> float:
    """XLA's count of the program for a TPU, in which a convolution is one operation; a loop's body counts once."""
    lowered = jax.jit(function).trace(*args).lower(lowering_platforms=("tpu",))
    counted: Any = lowered.cost_analysis() or jax.jit(function).lower(*args).cost_analysis()
    return float(counted["flops"])


def share(rate: float, kind: str) -> dict[str, Any]:
    """FLOP/s, and its share of the card's peak where that is known."""
    limit = peak(kind)
    return {"TFLOP/s": rate / 1e12} | ({} if limit is None else {f"share of {kind} peak": rate / limit})


def products(small: bool, **_: Any) -> dict[str, Any]:
    """A square matrix product in each precision."""
    n = 512 if small else 8192
    a = jax.random.normal(KEY, (n, n))
    found: dict[str, Any] = {"size": n}
    for name, x, precision in (
        ("float32", a, "highest"),
        ("tf32", a, "default"),
        ("bfloat16", a.astype(jnp.bfloat16), "default"),
    ):
        seconds, _ = timed(lambda x, p=precision: jnp.matmul(x, x, precision=p), x)
        found |= {f"{name} {what}": value for what, value in share(2 * n**3 / seconds, name).items()}
    return found


def network(name: str) -> Callable[..., dict[str, Any]]:
    """Training steps in three precisions, and BALD's scores, of one network."""
    kind, shape, batch = NETWORKS[name]

    def run(small: bool, **_: Any) -> dict[str, Any]:
        size, steps, rows, draws = (8, 3, 64, 4) if small else (batch, 100, 20_000, 100)
        module = kind(10, mean=127.5, std=74.0, **({"width": 4} if small and name == "resnet18" else {}))
        generator = np.random.default_rng(0)
        x = jnp.asarray(generator.integers(0, 256, (size, *shape)), jnp.uint8)
        y = jnp.asarray(generator.integers(0, 10, size), jnp.int32)
        count = jnp.asarray(size, jnp.int32)
        labelled = Labelled(x, y, jnp.ones(size), jnp.arange(size), count)
        found: dict[str, Any] = {"minibatch": size, "draws": draws}

        def posterior(dtype: Any, steps: int) -> Any:
            return posteriors.mc_dropout(
                module, categorical(), training(adam(), minibatch_size=size, steps=steps, dtype=dtype)
            )

        one = posterior("float32", 1)
        state = jax.jit(one.init)(KEY, x)
        step_flops = flops(one.fit, KEY, state, Data(labelled))
        for precision, dtype in (("float32", "float32"), ("tf32", "float32"), ("bfloat16", "bfloat16")):
            fit = posterior(dtype, steps).fit
            with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
                seconds, compiling = timed(lambda k, s, d, fit=fit: fit(k, s, d), KEY, state, Data(labelled))
            found |= {f"step {precision} ms": 1e3 * seconds / steps, f"step {precision} compile s": compiling}
            for what, value in share(step_flops / (seconds / steps), precision).items():
                found[f"step {precision} {what}"] = value
        pool = jnp.asarray(generator.integers(0, 256, (rows, *shape)), jnp.uint8)
        chunk = min(512, rows)

        def scores(key: jax.Array, pool: jax.Array) -> jax.Array:
            masks = one.sample(key, state, draws)

            def of_chunk(x: jax.Array, _: jax.Array) -> jax.Array:
                with jax.default_matmul_precision("highest"):
                    return bald(one.predict(state, masks, x).log_probs)

            return stream(of_chunk, pool, jnp.arange(rows), chunk)

        of_row = flops(lambda s, m, x: one.predict(s, m, x).log_probs, state, one.sample(KEY, state, draws), pool[:8])
        seconds, compiling = timed(scores, KEY, pool, repeats=2)
        found |= {"rows scored a second": rows / seconds, "score compile s": compiling}
        return found | {f"score {k}": v for k, v in share(of_row / 8 * rows / seconds, "float32").items()}

    return run


def batch_bald(small: bool, **_: Any) -> dict[str, Any]:
    """BatchBALD over a table of log-probabilities."""
    rows, draws, size, configurations = (300, 10, 3, 100) if small else (60_000, 100, 10, 10_000)
    logits = 3 * jax.random.normal(KEY, (rows, draws, 10)) + 3 * jax.random.normal(KEY, (rows, 1, 10))
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    method = batchbald(configurations)
    return twice(lambda: acquire(method, log_probs, size)) | {"rows": rows, "draws": draws, "batch": size}


def core_set_scale(small: bool, **_: Any) -> dict[str, Any]:
    """Core-set in a wide feature space: 2 N D FLOPs and N D floats read a pick."""
    rows, width, size = (500, 16, 5) if small else (1_000_000, 512, 100)
    features = jax.random.normal(KEY, (rows, width))
    summary, select = (features,), core_set().select
    labelled = Labelled(features[:4], jnp.zeros(4), jnp.ones(4), jnp.arange(4), jnp.asarray(4))

    def choose(summary: Any, context: Any) -> jax.Array:
        round = Round(KEY, lambda x: None, Data(labelled), None, context)
        return select(KEY, round, summary, jnp.ones(rows, bool), size).indices

    seconds, compiling = timed(choose, summary, (features[:4],), repeats=2)
    moved = 4.0 * rows * width * size
    found = {"rows": rows, "width": width, "batch": size, "seconds": seconds, "compile s": compiling}
    limit = peak("bytes")
    if limit is not None:
        found["share of memory peak"] = moved / seconds / limit
    return found | {"GB/s": moved / seconds / 1e9}


def large_pool(small: bool, **_: Any) -> dict[str, Any]:
    """BALD of a small MLP over many rows, streamed, and the best of them."""
    rows, draws = (2_000, 5) if small else (10_000_000, 100)
    module = models.MLP(10, (64,), 0.5)
    posterior = posteriors.mc_dropout(module, categorical(), training(steps=1))
    pool = jax.random.normal(KEY, (rows, 16))
    state = jax.jit(posterior.init)(KEY, pool[:1])

    def choose(key: jax.Array, pool: jax.Array) -> jax.Array:
        masks = posterior.sample(key, state, draws)

        def of_chunk(x: jax.Array, _: jax.Array) -> jax.Array:
            return bald(posterior.predict(state, masks, x).log_probs)

        scores = stream(of_chunk, pool, jnp.arange(rows), min(16_384, rows))
        return best(key, scores, jnp.ones(rows, bool), 10)[0]

    seconds, compiling = timed(choose, KEY, pool, repeats=2)
    return {"rows": rows, "draws": draws, "seconds": seconds, "rows a second": rows / seconds, "compile s": compiling}


def twice(function: Callable) -> dict[str, Any]:
    """Seconds of the first call, which compiles, and of the second."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - began)
    return {"first s": seconds[0], "seconds": seconds[1]}


def digits(small: bool, **_: Any) -> dict[str, Any]:
    """The quickstart's comparison, over many seeds at once."""
    seeds, last = (2, 30) if small else (64, 220)
    digits = data.load("digits")
    module: nn.Module = models.MLP(10, mean=float(digits.inputs.mean()), std=float(digits.inputs.std()))
    posterior = posteriors.mc_dropout(module, categorical(), training(steps=20 if small else 300))
    settings = Settings(seeds=seeds, seed_block=seeds, max_labels=last)
    found: dict[str, Any] = {"seeds": seeds, "labels": last}
    methods = {"random": random(), "entropy": top_k(entropy), "mean_std": top_k(mean_std), "bald": top_k(bald)}
    for name, acquisition in methods.items():
        done = campaign.run(posterior, acquisition, digits, settings, method=name)
        seconds = float(done.rounds.drop_duplicates("round").seconds.sum())
        final = done.rounds[done.rounds.num_labelled == last].accuracy.mean()
        found |= {f"{name} s a seed": seconds / seeds, f"{name} compile s": done.compile_seconds}
        found |= {f"{name} accuracy": float(final)}
    return found


def kirsch(small: bool, seconds: float, data: Path | None = None) -> dict[str, Any]:
    """Kirsch et al. 2019 on MNIST, BatchBALD, for as long as the time allows; on random images where there is none."""
    images, made_up = mnist(data, 200 if small else 60_000), data is None
    module = models.BatchBALDCNN(10, mean=0.1307 * 255, std=0.3081 * 255)
    steps = 4 if small else 30 * 79
    trained = training(
        adam(), early_stopping(3, every=2 if small else 79, monitor="accuracy"), minibatch_size=64, steps=steps
    )
    posterior = posteriors.mc_dropout(module, categorical(), trained)
    seeds, samples, configurations = (1, 3, 50) if small else (6, 100, 10_000)
    settings = Settings(
        seeds=seeds, seed_block=seeds, max_labels=30 if small else 300, num_samples=samples, chunk_size=None
    )
    hours = max(seconds - 20, 1) / 3600
    done = campaign.run(posterior, batchbald(configurations), images, settings, max_hours=hours)
    rounds = done.rounds
    of_round = rounds.drop_duplicates("round").seconds
    last = rounds[rounds["round"] == rounds["round"].max()]
    return {
        "made up images": made_up,
        "seeds": seeds,
        "rounds": int(rounds["round"].nunique()),
        "seconds a round, all seeds": float(of_round.median()),
        "compile s": done.compile_seconds,
        "labels": int(last.num_labelled.max()),
        "accuracy": last.accuracy.round(4).tolist(),
        "accuracies": {str(n): float(a) for n, a in rounds.groupby("num_labelled").accuracy.mean().round(4).items()},
    }


def mnist(folder: Path | None, size: int) -> Dataset:
    """MNIST from `folder`/mnist.npz, or random images of its shape, with 1024 validation rows (small: 50)."""
    if folder is None:
        generator = np.random.default_rng(0)
        shapes = ((size, 28, 28, 1), size, (max(size // 6, 20), 28, 28, 1), max(size // 6, 20))
        x, y, test_x, test_y = (
            generator.integers(0, 256 if isinstance(s, tuple) else 10, s).astype(np.uint8) for s in shapes
        )
    else:
        with np.load(folder / "mnist.npz") as file:
            x, y, test_x, test_y = (file[n] for n in ("train_images", "train_labels", "test_images", "test_labels"))
    whole = Dataset("mnist", x, y.astype(np.int32), test_x, test_y.astype(np.int32), 10)
    return data.with_validation(whole, 50 if size < 1000 else 1024)


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "matrix product": products,
    **{name: network(name) for name in NETWORKS},
    "batchbald": batch_bald,
    "core_set": core_set_scale,
    "pool": large_pool,
    "digits": digits,
    "kirsch": kirsch,
}
