"""The half of a round that knows no acquisition: fit the posterior, and evaluate it on the test set."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from al_jax import sweep
from al_jax.engine.state import State, keys, one_row, posterior_of
from al_jax.memo import memoised
from al_jax.mesh import EVERYWHERE, OWN_PART, on_mesh, one_by_one_on_cpu, unplaced
from al_jax.pool import stream
from al_jax.sweep import Recipe
from al_jax.types import Data, Inputs, Labelled, Learned, Likelihood, Pool, Posterior, PRNGKey

TEST_SPEC = Labelled(OWN_PART, EVERYWHERE, EVERYWHERE, EVERYWHERE, EVERYWHERE)  # type: ignore[arg-type]
"""Where the test set lies in mode `pool`."""


class Sizes(NamedTuple):
    """What a round does, as numbers that its programs are compiled for.

    batch_size: B, rows acquired a round.
    num_samples: K, posterior samples for scores and metrics; K < 1 is a ValueError.
    max_labels: the labelled buffer's size; `absorb` never takes more, so a last batch may be taken in part.
    test_samples: fewer posterior samples for the metrics, drawn for themselves; None takes those of the scores.
    chunk_size: rows predicted at a time.
    pool_subset: offer the acquisition this many random available rows a round.
    warm_start: fit from last round's parameters instead of fresh ones.
    evaluate: metrics of the mean over samples, or of the deterministic network where a paper did so.
    """

    batch_size: int
    num_samples: int
    max_labels: int
    test_samples: int | None = None
    chunk_size: int = 128
    pool_subset: int | None = None
    warm_start: bool = False
    evaluate: Literal["samples", "point"] = "samples"


def functions_of(posterior: Posterior, state: Any, draws: Any) -> Callable[[Inputs], Any]:
    """The K functions of these draws, `x [n, ...] -> predictions`."""

    def functions(x: Inputs) -> Any:
        # By default TPUs and recent GPUs round the factors of a float32 product to bfloat16 or TF32.
        with jax.default_matmul_precision("highest"):
            return posterior.predict(state, draws, x)

    return functions


@memoised
def learning(
    recipe: Recipe, likelihood: Likelihood, sizes: Sizes, mesh: Mesh | None
) -> Callable[..., tuple[State, Learned]]:
    """`Steps.learn`: metrics are of the draws of the scores, or of `sizes.test_samples` others."""
    own_samples = sizes.test_samples is not None
    num_samples = sizes.test_samples or sizes.num_samples

    def learn(
        state: State, inputs: Inputs | None, validation: Labelled | None, test: Labelled
    ) -> tuple[State, Learned]:
        """Fit, and evaluate on `test`. The state changes only in its fitted posterior."""
        pool = None if inputs is None else Pool(unplaced(inputs, len(state.available), mesh), state.available)
        key, posterior = keys(state), posterior_of(recipe, state)
        fresh = state.posterior if sizes.warm_start else posterior.init(key.init, one_row(state.labelled))
        fitted, info = posterior.fit(key.fit, fresh, Data(state.labelled, validation, pool, state.round))
        sample_key = jax.random.fold_in(key.sample, 1) if own_samples else key.sample
        state = state._replace(posterior=fitted)
        return state, Learned(info, evaluate(state, sample_key, test))

    @one_by_one_on_cpu
    def evaluate(state: State, key: PRNGKey, test: Labelled) -> dict[str, Array]:
        bare = state.posterior, state.values
        return on_mesh(evaluated, mesh, EVERYWHERE, EVERYWHERE, TEST_SPEC)(bare, key, test)

    def evaluated(bare: tuple[Any, Mapping[str, Array]], key: PRNGKey, test: Labelled) -> dict[str, Array]:
        fitted, posterior = bare[0], sweep.at(recipe, bare[1])
        functions = functions_of(posterior, fitted, posterior.sample(key, fitted, num_samples))

        def of_chunk(x: Inputs, _: Array) -> Any:
            predictions = functions(x)
            if sizes.evaluate == "point":
                predictions = predictions.at_point()
            return likelihood.marginal(predictions)._replace(features=None, extras={})

        tested = stream(
            of_chunk, test.inputs, jnp.arange(len(test.rows)), sizes.chunk_size, mesh, placed=mesh is not None
        )
        return likelihood.metrics(tested, test.labels)

    return learn
