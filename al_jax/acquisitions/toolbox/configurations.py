"""Joint labels of the rows chosen so far, all or a weighted sample of them, and what they say of further rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from al_jax.types import PRNGKey

BLOCK = 1024
"""Configurations of one matrix product: large enough to be fast, small enough for a CPU's cache."""
GROUPS = 512
"""Groups of configurations that bound a row's gain."""


class Configurations(NamedTuple):
    """M joint labels of the picks so far, with weights that sum to 1: sum_m weight_m f(m) estimates E[f(y_1..y_i)].

    While all C^i fit they are all there, each with its probability; see `extend`.
    """

    log_likelihoods: Float[Array, "M K"]  # log p(y_1..y_i = m | w_k)
    weights: Float[Array, " M"]  # 0 for an empty slot
    origin: Int[Array, " M"]  # of a sampled one: what it descends from, as it was when first sampled; -1: never was
    used: Int[Array, ""]  # slots in use, from the first


def start(num_configurations: int, num_samples: int) -> Configurations:
    """The one configuration of no labels."""
    return Configurations(
        jnp.zeros((num_configurations, num_samples)),
        jnp.zeros(num_configurations).at[0].set(1.0),
        jnp.full(num_configurations, -1),
        jnp.asarray(1),
    )


def posterior_weights(configurations: Configurations) -> Float[Array, "M K"]:
    """p(w_k | m): how far each posterior sample is still believed once the labels m are seen; 0 in an empty slot."""
    possible = configurations.weights[:, None] > 0
    return jnp.where(possible, jax.nn.softmax(jnp.where(possible, configurations.log_likelihoods, 0.0)), 0.0)


def conditional_entropies(beliefs: Float[Array, "m K"], log_probs: Float[Array, "n K C"]) -> Float[Array, "m n"]:
    """H[y | m] of n rows under m configurations, in nats: one matrix product, and no product of probabilities."""
    n, num_samples, num_classes = log_probs.shape
    table = jnp.exp(log_probs).transpose(1, 2, 0).reshape(num_samples, num_classes * n)
    p = jnp.matmul(beliefs, table, precision="highest")
    terms = jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0)
    return -terms.reshape(len(beliefs), num_classes, n).sum(1)


def mean_conditional_entropy(
    beliefs: Float[Array, "M K"], configurations: Configurations, log_probs: Float[Array, "n K C"]
) -> Float[Array, " n"]:
    """E_m H[y | m] of n rows, block by block over the configurations in use."""
    size = min(BLOCK, len(beliefs))

    def add(block: Array, total: Array) -> Array:
        # The last block starts early enough to be whole; what it would count twice has no weight in it.
        first = jnp.minimum(block * size, len(beliefs) - size)
        fresh = first + jnp.arange(size) >= block * size
        weights = jnp.where(fresh, jax.lax.dynamic_slice_in_dim(configurations.weights, first, size), 0.0)
        some = jax.lax.dynamic_slice_in_dim(beliefs, first, size)
        return total + jnp.matmul(weights, conditional_entropies(some, log_probs), precision="highest")

    blocks = (configurations.used + size - 1) // size
    return jax.lax.fori_loop(0, blocks, add, jnp.zeros(len(log_probs)))


def grouped(
    beliefs: Float[Array, "M K"], configurations: Configurations
) -> tuple[Float[Array, "G K"], Float[Array, " G"]]:
    """Beliefs and weights of groups of alike configurations: what is known of w once only the group is seen.

    Knowing less, a row's expected entropy is larger (Jensen: entropy is concave, and p(y | m) linear in the beliefs):
    sum_m weight_m H[y | m] <= sum_g weight_g H[y | g], whatever the groups. Each configuration joins the nearest of the
    heaviest ones and of an even choice of the others; on networks' predictions G = 512 groups of 10 000 are within a
    hundredth of a nat.
    """
    capacity = len(beliefs)
    groups = min(GROUPS, capacity)
    first = jnp.arange(groups // 2)
    spread = jnp.arange(groups - groups // 2)
    others = groups // 2 + spread * jnp.maximum(configurations.used - groups // 2, len(spread)) // len(spread)
    centres = beliefs[jnp.concatenate([first, others])]
    # argmax of b.c - |c|^2 / 2, as one product and in floats: spelt as usual it takes XLA five times as long on a CPU.
    centres = jnp.append(centres, -0.5 * jnp.sum(centres**2, axis=1, keepdims=True), axis=1)
    extended = jnp.append(beliefs, jnp.ones((capacity, 1)), axis=1)
    # Computed once: equality with the maximum of a second computation may hold nowhere.
    nearness = jax.lax.optimization_barrier(jnp.matmul(extended, centres.T, precision="highest"))
    is_nearest = nearness == jnp.max(nearness, axis=1, keepdims=True)
    group = jnp.max(jnp.where(is_nearest, jnp.arange(groups, dtype=jnp.float32), 0.0), axis=1).astype(jnp.int32)
    weights = jax.ops.segment_sum(configurations.weights, group, num_segments=groups)
    totals = jax.ops.segment_sum(configurations.weights[:, None] * beliefs, group, num_segments=groups)
    return totals / jnp.maximum(weights, 1e-30)[:, None], weights


def extend(key: PRNGKey, configurations: Configurations, log_probs: Float[Array, "K C"], step: Array) -> Configurations:
    """Append the label of one more row to every configuration, and keep M of the M C that result.

    As long as they fit, all that are possible are kept: everything is exact. Then the heaviest are kept as they are,
    and of the others as many as there is room for are drawn, one from each of equal strata of their weight, each with
    the weight of a stratum. No scheme that keeps the estimate unbiased has less variance of the weights (Fearnhead &
    Clifford 2003, section 3.2).
    """
    capacity, num_classes = len(configurations.weights), log_probs.shape[-1]
    beliefs = posterior_weights(configurations)
    weights = configurations.weights[:, None] * jnp.matmul(beliefs, jnp.exp(log_probs), precision="highest")
    weights = weights.reshape(-1)
    count = jnp.sum(weights > 0)
    descending, order = jax.lax.top_k(weights, capacity)
    # With the T heaviest kept, a stratum of the others is their total over the slots that are left; T is the first
    # number for which every other one is lighter than that.
    kept = jnp.arange(capacity)
    place = jnp.full(len(weights), capacity).at[order].set(kept)
    tail = jnp.sum(weights, where=place == capacity) + jnp.cumsum(descending[::-1])[::-1]
    stratum = tail / (capacity - kept)
    heavy = jnp.where(count > capacity, jnp.argmax(descending < stratum), capacity)
    width = stratum[jnp.minimum(heavy, capacity - 1)]
    # The others in their own order, so that a stratum holds alike configurations.
    below = jnp.cumsum(jnp.where(place >= heavy, weights, 0.0))
    points = (kept - heavy + jax.random.uniform(key, (capacity,))) * below[-1] / jnp.maximum(capacity - heavy, 1)
    drawn = jnp.searchsorted(below, points, side="right").clip(0, len(weights) - 1)
    exact = kept < heavy
    chosen = jnp.where(exact, order, drawn)
    parent, label = chosen // num_classes, chosen % num_classes
    origin = configurations.origin[parent]
    fresh = jnp.where(origin < 0, step * capacity + kept, origin)
    return Configurations(
        configurations.log_likelihoods[parent] + log_probs.T[label],
        jnp.where(exact, descending, width),
        jnp.where(exact, origin, fresh),
        jnp.minimum(count, capacity),
    )


def standard_error(configurations: Configurations, values: Float[Array, " M"]) -> Float[Array, ""]:
    """Of sum_m weight_m values_m, from how much the families of sampled configurations differ.

    Two sampled configurations with a common ancestor are dependent, families are not: the variance is estimated as if
    every family had been drawn at random (Chan & Lai 2013, section 3). Strata make the true one smaller. 0 while exact.
    """
    weights, origin = configurations.weights, configurations.origin
    sampled = (origin >= 0) & (weights > 0)
    mean = jnp.sum(weights * values, where=sampled) / jnp.maximum(jnp.sum(weights, where=sampled), 1e-30)
    deviation = jnp.where(sampled, weights * (values - mean), 0.0)
    origin, deviation = jax.lax.sort_key_val(jnp.where(sampled, origin, -1), deviation)
    new = jnp.concatenate([jnp.ones(1, bool), origin[1:] != origin[:-1]])
    family = jnp.cumsum(new) - 1
    totals = jax.ops.segment_sum(deviation, family, num_segments=len(weights), indices_are_sorted=True)
    families = jnp.sum(new & (origin >= 0))
    return jnp.sqrt(jnp.sum(totals**2) * families / jnp.maximum(families - 1, 1))
