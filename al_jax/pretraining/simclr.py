"""SimCLR: two changed views of a row should be more alike than those of different rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.training.augmentation import Augmentation, chain, feature_dropout, noise, random_flip
from al_jax.training.objective import Apply, Minibatch, Objective, Params, Report
from al_jax.training.rand_augment import kind_of, rand_augment, random_zoom
from al_jax.types import Inputs, PRNGKey


@memoised
def simclr(temperature: float = 0.5, change: Augmentation | None = None) -> Objective:
    """Chen et al. 2020, eq. 1 (NT-Xent), of the rows of a minibatch; labels have no part in it.

    The network's outputs are the projection, which the paper gives one hidden layer more.

    Args:
      temperature: of the similarities; the cosine of two outputs is divided by it.
      change: makes a view; by default of images zooms, one step of `rand_augment` and, where there are colours,
        mirroring, and of vectors noise and `feature_dropout`.

    ValueError for a temperature that is not positive.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: expected a positive number")

    def loss(
        key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
    ) -> tuple[Array, Report]:
        one, other, of_network = jax.random.split(key, 3)
        rows, changed = labelled.inputs, change or views(labelled.inputs)
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), changed(one, rows), changed(other, rows))
        valid = jnp.concatenate([labelled.valid, labelled.valid])
        return nt_xent(apply(params, of_network, both), valid, temperature), {}

    return Objective(loss)


def nt_xent(outputs: Float[Array, "2b D"], valid: Array, temperature: float) -> Float[Array, ""]:
    """The mean over valid views i of -log(exp(s_ij / t) / sum over k != i of exp(s_ik / t)), in nats.

    s are cosines, and j is the other view of the row; the second half of `outputs` are the other views of the first.
    """
    unit = outputs / jnp.maximum(jnp.linalg.norm(outputs, axis=-1, keepdims=True), 1e-8)
    size = len(unit) // 2
    similar = unit @ unit.T / temperature
    others = valid[None, :] & ~jnp.eye(2 * size, dtype=bool)
    normaliser = jax.nn.logsumexp(jnp.where(others, similar, -jnp.inf), axis=-1)
    partner = jnp.roll(jnp.arange(2 * size), size)
    losses = normaliser - similar[jnp.arange(2 * size), partner]
    return jnp.sum(jnp.where(valid, losses, 0.0)) / jnp.maximum(valid.sum(), 1)


def views(inputs: Inputs) -> Augmentation:
    """What makes a view of rows of this kind."""
    if kind_of(inputs) == 2:
        return chain(noise(0.3), feature_dropout(0.3))
    mirrored = (random_flip(),) if inputs.shape[-1] > 1 else ()
    return chain(random_zoom(), rand_augment(1), *mirrored)
