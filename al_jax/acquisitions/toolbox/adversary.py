"""An autoencoder of rows, and a discriminator that tells labelled from unlabelled ones by their codes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from al_jax.acquisitions.top_k import select_best
from al_jax.training.loop import drawn_from
from al_jax.types import Acquisition, Inputs, Labelled, Pool, PRNGKey, Round

HALF = 64
"""Rows of either side in a minibatch."""
Condition = Callable[[Inputs], Float[Array, "n 1"]]
"""What decoder and discriminator are told of a row beside its code, in [0, 1]."""


class Sizes(NamedTuple):
    """Of the networks and of their training."""

    latent: int
    width: int
    steps: int
    learning_rate: float


class Adversary(NamedTuple):
    """What was learned: `shift` and `scale` of the raw numbers, and the parameters of the three networks."""

    shift: Float[Array, ""]
    scale: Float[Array, ""]
    params: dict[str, Any]


class Layers(nn.Module):
    """Two rectified layers and a linear one: `x [n, d] -> [n, outputs]`, in full precision."""

    width: int
    outputs: int

    @nn.compact
    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n o"]:
        """The outputs."""
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width, precision="highest")(x))
        return nn.Dense(self.outputs, precision="highest")(x)


def adversarial(method: str, told: Callable[[Round, Inputs], Float[Array, "n 1"]], sizes: Sizes) -> Acquisition:
    """The acquisition of the rows that an adversary, told `told(round, x)` of every row, calls unlabelled.

    ValueError when a size is not positive, and for a pool on the host.
    """
    for argument, value in sizes._asdict().items():
        if not value > 0:
            raise ValueError(f"{argument}={value}: expected a positive number")

    def prepare(key: PRNGKey, round: Round) -> Adversary:
        if round.data.pool is None:
            raise ValueError(f"{method} trains on the pool, and data.pool is None: expected a pool on the device")
        return trained(key, round.data.labelled, round.data.pool, functools.partial(told, round), sizes)

    def summarise(round: Round, x: Inputs, rows: Array) -> Float[Array, " n"]:
        logits = unlabelled_logit(round.context, sizes, x, functools.partial(told, round))
        return jnp.where(round.data.labelled.count > 0, logits, 0.0)

    return Acquisition(summarise, select_best, prepare)


def flat(x: Inputs) -> Float[Array, "n D"]:
    """All numbers of a row in one vector, as float32."""
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(x)]
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=-1)


def networks(width: int, sizes: Sizes) -> dict[str, Layers]:
    """Encoder to mean and log-variance of a code, decoder and discriminator, for rows of `width` numbers."""
    return {
        "encoder": Layers(sizes.width, 2 * sizes.latent),
        "decoder": Layers(sizes.width, width),
        "discriminator": Layers(sizes.width, 1),
    }


def unlabelled_logit(adversary: Adversary, sizes: Sizes, x: Inputs, condition: Condition) -> Float[Array, " n"]:
    """The discriminator's logit of not being labelled, at the mean codes of rows `x [n, ...]`."""
    rows = (flat(x) - adversary.shift) / adversary.scale
    parts, params = networks(rows.shape[1], sizes), adversary.params
    mean = _applied(parts, params, "encoder", rows)[:, : sizes.latent]
    return _applied(parts, params, "discriminator", jnp.concatenate([mean, condition(x)], axis=-1))[:, 0]


def trained(key: PRNGKey, labelled: Labelled, pool: Pool, condition: Condition, sizes: Sizes) -> Adversary:
    """Train both for `sizes.steps` steps on as many labelled as available rows, from fresh parameters.

    The autoencoder minimises its negative evidence bound in nats a row (unit variance, both sides), and how surely the
    discriminator calls a row unlabelled; the discriminator minimises its own error (Sinha et al. 2019, eqs. 1 to 4).
    Rows are standardised by mean and deviation of all numbers of the available rows.
    """
    init_key, step_key = jax.random.split(key)
    mine, unlabelled_rows = jnp.maximum(labelled.count, 1), drawn_from(pool, HALF)
    example = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:1], pool.inputs)
    shift, scale = _moments(pool)
    width = flat(example).shape[1]
    parts, ones = networks(width, sizes), jnp.zeros((1, sizes.latent + 1))
    inits = {"encoder": flat(example), "decoder": ones, "discriminator": ones}
    keys = jax.random.split(init_key, 3)
    params = {name: parts[name].init(k, inits[name])["params"] for k, name in zip(keys, parts, strict=True)}
    optimiser = optax.adam(sizes.learning_rate)
    unlabelled = jnp.arange(2 * HALF) >= HALF

    def drawn(key: PRNGKey) -> tuple[Array, Array]:
        known_key, free_key = jax.random.split(key)
        here = jax.random.randint(known_key, (HALF,), 0, mine)
        others = unlabelled_rows(free_key)
        assert others is not None  # HALF of them
        rows = jax.tree.map(
            lambda a, b: jnp.concatenate([jnp.asarray(a)[here], b.astype(a.dtype)]), labelled.inputs, others.inputs
        )
        return (flat(rows) - shift) / scale, jax.lax.stop_gradient(condition(rows))

    def loss(params: dict[str, Any], key: PRNGKey, x: Array, told: Array) -> Array:
        mean, log_variance = jnp.split(_applied(parts, params, "encoder", x), 2, axis=-1)
        log_variance = jnp.clip(log_variance, -10.0, 10.0)
        code = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        again = _applied(parts, params, "decoder", jnp.concatenate([code, told], axis=-1))
        divergence = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum(-1)
        bound = (0.5 * jnp.square(x - again).sum(-1) + divergence).mean()

        def logits(params: dict[str, Any], mean: Array) -> Array:
            return _applied(parts, params, "discriminator", jnp.concatenate([mean, told], axis=-1))[:, 0]

        # The encoder wants both sides to look labelled (eq. 2), the discriminator wants the truth (eq. 3).
        fooled = jnp.mean(jax.nn.softplus(logits(jax.lax.stop_gradient(params), mean)))
        right = optax.sigmoid_binary_cross_entropy(logits(params, jax.lax.stop_gradient(mean)), unlabelled).mean()
        return bound + fooled + right

    def step(index: Array, carry: Any) -> Any:
        params, moments = carry
        draw_key, noise_key = jax.random.split(jax.random.fold_in(step_key, index))
        gradient = jax.grad(loss)(params, noise_key, *drawn(draw_key))
        updates, moments = optimiser.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    params, _ = jax.lax.fori_loop(0, sizes.steps, step, (params, optimiser.init(params)))
    return Adversary(shift, scale, params)


def _applied(parts: dict[str, Layers], params: dict[str, Any], name: str, x: Array) -> Array:
    return jnp.asarray(parts[name].apply({"params": params[name]}, x))


def _moments(pool: Pool) -> tuple[Array, Array]:
    """Mean and deviation of all numbers of the available rows; 0 and 1 where there are none, or one value alone."""
    free = pool.available[:, None]
    rows = [jnp.asarray(leaf).reshape(len(leaf), -1).astype(jnp.float32) for leaf in jax.tree.leaves(pool.inputs)]
    number = jnp.maximum(free.sum() * sum(r.shape[1] for r in rows), 1)

    def mean_of(function: Callable[[Array], Array]) -> Array:
        return sum((jnp.sum(jnp.where(free, function(r), 0.0)) for r in rows), start=jnp.zeros(())) / number

    mean = mean_of(lambda r: r)
    variance = mean_of(lambda r: jnp.square(r - mean))
    return mean, jnp.where(variance > 0, jnp.sqrt(variance), 1.0)
