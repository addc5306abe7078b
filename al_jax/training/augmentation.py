"""Random changes of training images that keep their class, inside the compiled training loop."""

from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from al_jax.memo import memoised
from al_jax.types import PRNGKey


class Augmentation(Protocol):
    """(key, images [b, h, w, c]) -> images of the same shape."""

    def __call__(self, key: PRNGKey, images: Shaped[Array, "b h w c"], /) -> Shaped[Array, "b h w c"]:
        """The changed images."""


@memoised
def random_crop(padding: int = 4) -> Augmentation:
    """Move every image by up to `padding` pixels up or down and left or right; zeros enter (He et al. 2016)."""
    if padding < 1:
        raise ValueError(f"padding={padding}: expected at least 1")

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        _images(images)
        padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        corners = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1)

        def crop(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

        return jax.vmap(crop)(padded, corners)

    return augment


@memoised
def random_flip() -> Augmentation:
    """Mirror every image left to right with probability 1/2."""

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        _images(images)
        flip = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
        return jnp.where(flip, images[:, :, ::-1], images)

    return augment


@memoised
def chain(*augmentations: Augmentation) -> Augmentation:
    """One augmentation after the other, each with a key of its own."""

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        for step, each in zip(jax.random.split(key, len(augmentations)), augmentations, strict=True):
            images = each(step, images)
        return images

    return augment


def _images(x: Shaped[Array, "..."]) -> None:
    if x.ndim != 4:
        raise ValueError(f"augment takes images [b, h, w, c]: the inputs of a minibatch are {list(x.shape)}")
