"""Rotation: an encoder learns by how many quarter turns an image was turned."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from al_jax.memo import memoised
from al_jax.training.objective import Apply, Minibatch, Objective, Params, Report
from al_jax.types import PRNGKey


@memoised
def rotation() -> Objective:
    """Cross entropy of the number of quarter turns, 0 to 3, of randomly turned images (Gidaris et al. 2018, eq. 3).

    The network has four outputs. ValueError for rows that are no square images.
    """

    def loss(
        key: PRNGKey, apply: Apply, params: Params, labelled: Minibatch, unlabelled: None, progress: Array, memory: None
    ) -> tuple[Array, Report]:
        of_turns, of_network = jax.random.split(key)
        quarters = jax.random.randint(of_turns, (len(labelled.valid),), 0, 4)
        outputs = apply(params, of_network, turned(labelled.inputs, quarters))
        right = outputs.argmax(-1) == quarters
        losses = -jnp.take_along_axis(jax.nn.log_softmax(outputs), quarters[:, None], 1)[:, 0]
        return labelled.mean(losses), {"turns_known": labelled.mean(right.astype(jnp.float32))}

    return Objective(loss)


def turned(images: Shaped[Array, "n h h c"], quarters: Array) -> Shaped[Array, "n h h c"]:
    """Square images, each turned by its number of quarter turns."""
    if getattr(images, "ndim", 0) != 4 or images.shape[1] != images.shape[2]:
        raise ValueError(f"rotation turns square images [n, h, h, c]: the rows are {list(images.shape)}")
    return jax.vmap(lambda image, k: jax.lax.switch(k, [lambda x, k=k: jnp.rot90(x, k) for k in range(4)], image))(
        images, quarters
    )
