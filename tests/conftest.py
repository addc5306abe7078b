"""Fixtures shared by the suite: one tiny data set, one tiny network, compiled as rarely as possible."""

import os
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nearly all of the suite's time is LLVM compiling programs that then run for milliseconds. The old emitters are quicker
# at it; later versions of XLA have only the new ones, and end at a flag that they do not know.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false" if version("jaxlib") < "0.11" else ""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from tables import POSTERIORS

from al_jax import vocabulary
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.training import Training
from al_jax.types import GaussianPredictions, Posterior


def blobs(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Three Gaussian blobs in the plane, `[size, 2]` float32 and `[size]` int32."""
    generator = np.random.default_rng(seed)
    labels = np.arange(size, dtype=np.int32) % 3
    centres = 3.0 * np.array([[0.0, 1.0], [0.9, -0.5], [-0.9, -0.5]])
    return (centres[labels] + generator.normal(size=(size, 2))).astype(np.float32), labels


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """A pool of 48 rows, 30 test rows, 3 classes."""
    inputs, labels = blobs(0, 48)
    test_inputs, test_labels = blobs(1, 30)
    return Dataset("blobs", inputs, labels, test_inputs, test_labels, 3)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of every process here: compile once, and share."""
    cache = tmp_path_factory.getbasetemp() / "jax-cache"
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "MPLBACKEND": "agg",
    }


@pytest.fixture(scope="module")
def compiled_once(environment: dict[str, str]) -> Iterator[None]:
    """For modules that run the same programs again and again: the cache of the other processes, in this one."""
    cache = environment["JAX_COMPILATION_CACHE_DIR"]
    names = {"jax_compilation_cache_dir": cache, "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


TRAINING = Training(optax.adam(1e-2), minibatch_size=8, steps=20)


@pytest.fixture(scope="session")
def straight_line() -> Posterior:
    """A regression: linear functions with standard normal weights, not trained on anything; noise 0.3."""

    def predict(state: None, draws: jax.Array, x: jax.Array) -> GaussianPredictions:
        mean = jnp.matmul(x, draws.T, precision="highest")
        point = jnp.zeros(len(x))
        return GaussianPredictions(mean, jnp.full_like(mean, 0.09), point, jnp.full_like(point, 0.09), x)

    def sample(key: jax.Array, state: None, num_samples: int) -> jax.Array:
        return jax.random.normal(key, (num_samples, 5))

    return Posterior(lambda key, x: None, lambda key, state, data: (state, {"finite": True}), sample, predict)


def tiny(name: str, training: Training = TRAINING) -> Posterior:
    """The posterior of this name in the table, over a network of 8 hidden units (`nuts`: 4)."""

    def module(metadata: tuple[dict[str, Any], ...]) -> MLP:
        options = {"dropout": 0.5}
        for wanted in metadata:
            options |= wanted
        return MLP(3, (4,) if name == "nuts" else (8,), **options)

    bound = {"module": module, "likelihood": lambda _: categorical(), "training": lambda _: training}
    return vocabulary.expression("posterior", POSTERIORS[name]).make(bound)
