"""Random changes of training rows that keep their class, inside the compiled training loop: images and vectors."""

from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from al_jax.memo import memoised
from al_jax.types import PRNGKey


class Augmentation(Protocol):
    """(key, rows [b, ...]) -> rows of the same shape, such as images [b, h, w, c]."""

    def __call__(self, key: PRNGKey, rows: Shaped[Array, "b ..."], /) -> Shaped[Array, "b ..."]:
        """The changed rows."""


@memoised
def random_crop(padding: int = 4) -> Augmentation:
    """Move every image by up to `padding` pixels up or down and left or right; zeros enter (He et al. 2016)."""
    if padding < 1:
        raise ValueError(f"padding={padding}: expected at least 1")

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        check_images(images)
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
        check_images(images)
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


@memoised
def cutout(share: float = 0.5) -> Augmentation:
    """Hide a square of every image, of a random side up to `share` of the image's (DeVries & Taylor 2017).

    Its centre is a random pixel, so that it may reach over the edge; its colour is the mean of the image.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: expected more than 0 and at most 1")

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        check_images(images)
        number, height, width, _ = images.shape
        of_side, of_centre = jax.random.split(key)
        side = share * min(height, width) * jax.random.uniform(of_side, (number, 1))
        centre = jax.random.uniform(of_centre, (number, 2)) * jnp.array([height, width])
        rows, columns = (
            jnp.abs(jnp.arange(size) + 0.5 - centre[:, axis, None]) < side / 2
            for axis, size in enumerate((height, width))
        )
        hidden = (rows[:, :, None] & columns[:, None, :])[..., None]
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        return jnp.where(hidden, like(images, mean), images)

    return augment


@memoised
def noise(scale: float = 0.1) -> Augmentation:
    """Add normal noise to floats `[b, ...]`, of `scale` times the standard deviation of all their entries."""
    if not 0 <= scale < float("inf"):
        raise ValueError(f"scale={scale}: expected a finite number, 0 or more")

    def augment(key: PRNGKey, rows: Shaped[Array, "b ..."]) -> Shaped[Array, "b ..."]:
        values = rows.astype(jnp.float32)
        return like(rows, values + scale * values.std() * jax.random.normal(key, rows.shape))

    return augment


@memoised
def feature_dropout(rate: float = 0.2) -> Augmentation:
    """Replace each entry of a row `[b, ...]` by its mean over the minibatch with probability `rate`."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate}: expected 0 or more and less than 1")

    def augment(key: PRNGKey, rows: Shaped[Array, "b ..."]) -> Shaped[Array, "b ..."]:
        mean = like(rows, rows.astype(jnp.float32).mean(axis=0, keepdims=True))
        return jnp.where(jax.random.bernoulli(key, rate, rows.shape), mean, rows)

    return augment


def like(rows: Array, values: Array) -> Array:
    """`values` in the type of `rows`: whole numbers are rounded and kept within their type."""
    if jnp.issubdtype(rows.dtype, jnp.floating):
        return values.astype(rows.dtype)
    bounds = jnp.iinfo(rows.dtype)
    return jnp.clip(jnp.round(values), bounds.min, bounds.max).astype(rows.dtype)


def check_images(x: Shaped[Array, "..."]) -> None:
    """ValueError unless the rows are images `[b, h, w, c]`."""
    if x.ndim != 4:
        raise ValueError(f"augment takes images [b, h, w, c]: the inputs of a minibatch are {list(x.shape)}")
