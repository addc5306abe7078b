"""What an acquisition reads of a round, found by tracing it on stand-ins."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from al_jax.annotations import is_constructor, signature_of
from al_jax.types import Acquisition, Data, Labelled, Pool, Predictions, Round

N, K, C, D, M = 12, 3, 4, 5, 3


def needs(thing: Any) -> tuple[str, ...]:
    """Of draws, features, labelled, pool, targets, last layer: what a score, or a constructor with its defaults, reads.

    A constructor whose arguments have no defaults, such as `prefilter`, needs what its arguments need: ("arguments",).
    """
    if isinstance(thing, Acquisition):
        return traced(thing)
    if not is_constructor(thing):
        first = next(iter(signature_of(thing).parameters), "")
        return ("draws",) if first in ("log_probs", "predictions") else ("arguments",)
    if any(p.default is inspect.Parameter.empty for p in signature_of(thing).parameters.values()):
        return ("arguments",)
    return traced(thing())


def traced(acquisition: Acquisition) -> tuple[str, ...]:
    """What the acquisition reads, in a round over a made-up pool; nothing is computed."""
    read: set[str] = set()

    class Watched:
        """Predictions that note which fields are read."""

        def __init__(self, of: Predictions, whose: str) -> None:
            self.of, self.whose = of, whose

        def __getattr__(self, name: str) -> Any:
            what = {"samples": "draws", "log_probs": "draws", "extras": "extras"}.get(name, name)
            read.add(f"labelled {what}" if self.whose == "labelled" and what in ("features", "draws") else what)
            return getattr(self.of, name)

    class WatchedData(Data):
        """Data that note whether the pool is read."""

        @property
        def pool(self) -> Pool | None:  # type: ignore[override]
            read.add("pool")
            return self[2]

    x = jnp.zeros((N, D))
    labelled = Labelled(x[:M] + 1, jnp.zeros(M, jnp.int32), jnp.ones(M), jnp.arange(M), jnp.asarray(M))
    pool = Pool(x, jnp.arange(N) >= M)

    def functions(rows: Any) -> Any:
        whose = "labelled" if rows is labelled.inputs else "pool"
        n = len(rows)
        log_probs = jax.nn.log_softmax(jnp.ones((n, K, C)) * rows[:, :1, None])
        extras = {"loss": rows[:, 0], "critic": rows[:, 0]}
        return Watched(Predictions(log_probs, log_probs[:, 0], rows, extras), whose)

    def round_of(key: Any) -> Any:
        memory = acquisition.init(key, pool)
        if memory is not None:
            read.add("memory of the pool")
        round = Round(key, functions, WatchedData(labelled, None, pool), memory)

        def head(features: Any) -> Any:
            read.add("last layer")
            return jnp.ones((len(features), C)) * features[:, :1]

        round = round._replace(context=acquisition.prepare(key, round), head=head)
        summary = acquisition.summarise(round, x, jnp.arange(N))
        return acquisition.select(key, round, summary, pool.available, 2).indices

    jax.eval_shape(round_of, jax.random.key(0))
    order = (
        "draws",
        "point",
        "features",
        "labelled draws",
        "labelled features",
        "last layer",
        "extras",
        "pool",
        "memory of the pool",
    )
    return tuple(name for name in order if name in read) or ("nothing",)
