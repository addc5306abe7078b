"""BatchBALD: the batch whose labels together tell most about the parameters, chosen greedily."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.toolbox.configurations import (
    conditional_entropies,
    extend,
    grouped,
    mean_conditional_entropy,
    posterior_weights,
    standard_error,
    start,
)
from al_jax.acquisitions.top_k import is_constant
from al_jax.information import entropy, mutual_information
from al_jax.memo import memoised
from al_jax.pool import check_batch_size
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round

CANDIDATES = 32
"""Rows of one matrix product, as many as stay in a CPU's cache."""
FIRST_CANDIDATES = 8
"""Rows whose gains say what a bound must reach to be looked at again."""
GROUPED_CANDIDATES = 128
"""Rows bounded at a time."""
SATURATED = 0.95
"""Of log K: no batch can carry more than log K nats with K posterior samples."""
TOLERANCE = 1e-5
"""Nats by which float32 may put a gain above its bound from the pick before; bounds below it are as good as 0."""


@memoised
def batchbald(
    num_configurations: int = 10_000,
    *,
    stop_when_saturated: bool = False,
    fallback: Literal["stochastic_bald", "random"] = "stochastic_bald",
    lazy: bool = True,
) -> Acquisition:
    """Greedy maximisation of I(y_1..y_B; w), in nats (Kirsch, van Amersfoort & Gal 2019).

    `Acquired.scores` are the cumulative I(y_1..y_i; w) in the order of the picks. A row's gain given the picks so far:

        I(y; w | y_1..y_i) = E_m (H[y | m] - sum_k p(w_k | m) H[y | w_k]),    p(y | m) = sum_k p(w_k | m) p(y | w_k),

    the mean over configurations m of the picks' labels. Its terms are what y tells of w once m is known: never
    negative, at most what is left to know, and nothing underflows, because p(w_k | m) is a softmax. (With the weights
    1/K of all samples in the place of p(w_k | m), which has the same mean, the sum of a saturated batch would exceed
    log K.) It is exact while all possible configurations number at most `num_configurations`, and unbiased after that:
    the heaviest are kept exactly and the rest sampled, the same for all rows (common random numbers; see `extend`).

    Args:
      num_configurations: M; time grows with M K C for each row whose gain is computed.
      stop_when_saturated: once I exceeds 95 % of log K, beyond which K samples cannot tell batches apart, fill the
        batch by the `fallback`.
      fallback: "stochastic_bald" (rows drawn in proportion to BALD: power BALD) or "random".
      lazy: compute a gain only while two bounds exceed the best: the row's value at the pick before, for gains never
        rise as labels are added (submodularity), and then the gain given groups of configurations (`grouped`). As long
        as all is exact this selects what computing every gain selects, but for gains below 1e-5 nats, which count as
        equal. When sampled the second still holds, for the same configurations, the first up to the sampling error: a
        row that was passed over had a gain, or a bound of it, below that of the row picked, now or at its last
        computation.

    `Acquired.info`, of every pick: `standard_error` of the score (0 while exact; the picks' summed, an upper bound),
    `saturation` = I / log K, `evaluated`, the share of the rows whose gain was computed, and `duplicate`, whether the
    predictions equal those of an earlier pick; of the batch `constant`, whether all rows have the same BALD. Memory:
    the table [N, K, C] and M (3 K + 512 + 32 C) floats; `prefilter` it where N is large. ValueError when
    num_configurations < 1, for another fallback, and for dense predictions.
    """
    if num_configurations < 1:
        raise ValueError(f"num_configurations={num_configurations}: expected at least 1")
    if fallback not in ("stochastic_bald", "random"):
        raise ValueError(f"fallback={fallback!r}: expected 'stochastic_bald' or 'random'")

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, "n K C"]:
        return round.functions(x).log_probs

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        if summary.ndim != 3:
            raise ValueError(f"log_probs has shape {summary.shape}: batchbald expects [N, K, C], one label a row")
        size, num_samples, _ = summary.shape
        check_batch_size(batch_size, size)
        tie_key, fallback_key, extend_key = jax.random.split(key, 3)
        order = jnp.argsort(jax.random.permutation(tie_key, size))  # argmax takes the first of equals: a random one
        of_samples = entropy(summary)  # H[y | w_k], [N, K]
        bald = mutual_information(summary)
        limit = jnp.log(num_samples)
        noise = jax.random.gumbel(fallback_key, (size,))
        random = noise if fallback == "random" else jnp.log(jnp.maximum(bald, 1e-30)) + noise

        def best(values: Array, candidates: Bool[Array, " N"], chosen: Bool[Array, " N"]) -> Array:
            """The candidate of the largest value, ties by the key; where there is none, some row not chosen yet."""
            ranked = jnp.where(candidates, values, jnp.where(chosen, -2e30, -1e30))
            # Not `ranked == ranked.max()`: a GPU may compute the two a second time, in another order of additions.
            return order[jnp.argmax(ranked[order])]

        def search(
            function: Callable[[Array], Array], bounds: Array, highest: Array, block_size: int, raising: bool
        ) -> tuple[Array, Array]:
            """`function(rows)` where its bound is at least `highest`, the bounds elsewhere; and the number of rows.

            In descending order of the bounds; with `raising` the values that are found raise `highest`.
            """
            descending, block_size = jnp.argsort(-bounds), min(block_size, size)

            def promising(state: tuple[Array, Array, Array]) -> Array:
                done, _, highest = state
                bound = bounds[descending[jnp.minimum(done, size - 1)]]
                worth = bound > (TOLERANCE if lazy else -jnp.inf)
                return (done < size) & worth & (bound + TOLERANCE >= highest)

            def look(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                done, values, highest = state
                rows = jax.lax.dynamic_slice_in_dim(
                    descending, done, block_size
                )  # the last block goes back, to be whole
                block = jnp.where(bounds[rows] > -jnp.inf, function(rows), -jnp.inf)
                highest = jnp.maximum(highest, block.max()) if raising else highest
                return done + block_size, values.at[rows].set(block), highest

            done, values, _ = jax.lax.while_loop(promising, look, (jnp.zeros((), jnp.int32), bounds, highest))
            return values, jnp.minimum(done, size)

        def pick(carry: tuple, step: Array) -> tuple[tuple, tuple]:
            configurations, bounds, chosen, last, total, error = carry
            configurations = extend(jax.random.fold_in(extend_key, step), configurations, summary[last], step)
            beliefs = posterior_weights(configurations)
            groups, weights = grouped(beliefs, configurations)
            # Sampled configurations believe in the samples a little more or less than 1/K; by the same the gains err.
            believed = jnp.matmul(configurations.weights, beliefs, precision="highest")

            def noise_of(rows: Array) -> Array:
                return jnp.matmul(of_samples[rows], believed, precision="highest")

            def gain_of(rows: Array) -> Array:
                return mean_conditional_entropy(beliefs, configurations, summary[rows]) - noise_of(rows)

            def bound_of(rows: Array) -> Array:
                entropies = conditional_entropies(groups, summary[rows])
                return jnp.minimum(bounds[rows], jnp.matmul(weights, entropies, precision="highest") - noise_of(rows))

            saturated = stop_when_saturated & (total > SATURATED * limit)
            highest = jnp.where(saturated, jnp.inf, -jnp.inf)  # inf: look at none
            gains = bounds
            if lazy:
                first = jax.lax.top_k(bounds, min(FIRST_CANDIDATES, size))[1]
                found = jnp.max(jnp.where(bounds[first] > -jnp.inf, gain_of(first), -jnp.inf))
                gains, _ = search(bound_of, bounds, jnp.maximum(highest, found), GROUPED_CANDIDATES, raising=False)
            gains, done = search(gain_of, gains, highest, CANDIDATES, raising=lazy)
            open_rows = available & ~chosen
            row = best(jnp.where(saturated, random, gains), open_rows, chosen)
            told = conditional_entropies(beliefs, summary[row][None])[:, 0]
            told -= jnp.matmul(beliefs, of_samples[row], precision="highest")  # I(y; w | m) of every configuration
            gain = jnp.matmul(configurations.weights, told, precision="highest")
            error = error + standard_error(configurations, told)
            total, chosen = total + gain, chosen.at[row].set(True)
            score = jnp.where(open_rows[row], total, -jnp.inf)
            carry = configurations, gains.at[row].set(-jnp.inf), chosen, row, total, error
            return carry, (row, score, error, done / size)

        first = best(bald, available, jnp.zeros(size, bool))
        chosen = jnp.zeros(size, bool).at[first].set(True)
        bounds = jnp.where(available & ~chosen, bald, -jnp.inf)
        begin = start(num_configurations, num_samples), bounds, chosen, first, bald[first], jnp.zeros(())
        _, others = jax.lax.scan(pick, begin, jnp.arange(1, batch_size))
        zero = jnp.zeros(())
        of_first = first, jnp.where(available[first], bald[first], -jnp.inf), zero, zero
        rows, scores, errors, share = (jnp.append(a, rest) for a, rest in zip(of_first, others, strict=True))
        picked = summary[rows]
        same = jnp.all(picked[:, None] == picked, axis=(2, 3))
        info = {
            "standard_error": errors,
            "saturation": scores / limit if num_samples > 1 else jnp.zeros(batch_size),
            "evaluated": share,
            "duplicate": jnp.any(jnp.tril(same, -1), axis=1),
            "constant": is_constant(bald, available),
        }
        return Acquired(rows, scores, info)

    return Acquisition(summarise, select)
