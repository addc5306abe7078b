"""Strong random changes of images, as RandAugment makes them, and what is weak and strong for rows of a kind."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from al_jax.memo import memoised
from al_jax.training.augmentation import (
    Augmentation,
    chain,
    check_images,
    cutout,
    feature_dropout,
    like,
    noise,
    random_crop,
)
from al_jax.types import Inputs, PRNGKey

SHIFT, TURN, SHEAR, CONTRAST, BRIGHTNESS = 0.2, 30.0, 0.3, 0.5, 0.3
"""The largest changes: share of a side, degrees, slope, share of the contrast, share of the range of values."""
OPERATIONS = 7


@memoised
def rand_augment(operations: int = 2, strength: float = 1.0) -> Augmentation:
    """Change every image `operations` times in a row, each time in a random one of seven ways (Cubuk et al. 2020).

    Shifts up to 20 % down or right, turns up to 30 degrees, shears up to 0.3 along either axis, contrast by up to 50 %
    and brightness by up to 30 % of the range, all in both directions and times `strength`. The geometric ones are one
    affine map, applied once by bilinear interpolation; what enters is the image's smallest value.
    ValueError for less than one operation, or a strength that is not positive.
    """
    if operations < 1 or not 0 < strength < float("inf"):
        raise ValueError(f"operations={operations} must be at least 1, strength={strength} positive")

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        check_images(images)
        values = images.astype(jnp.float32)
        low, high = values.min(), values.max()

        def one(key: PRNGKey, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            of_kind, of_size = jax.random.split(key)
            kinds = jax.random.randint(of_kind, (operations,), 0, OPERATIONS)
            sizes = strength * jax.random.uniform(of_size, (operations,), minval=-1.0, maxval=1.0)
            matrix, shift = jnp.eye(2), jnp.zeros(2)
            gain, offset = jnp.ones(()), jnp.zeros(())
            for kind, size in zip(kinds, sizes, strict=True):
                turn, moved = geometric(kind, size)
                matrix, shift = turn @ matrix, turn @ shift + moved
                gain *= jnp.where(kind == 5, 1 + CONTRAST * size, 1.0)
                offset += jnp.where(kind == 6, BRIGHTNESS * size, 0.0)
            changed = affine(image, matrix, shift)
            mean = changed.mean()
            coloured = mean + gain * (changed - mean) + offset * (high - low)
            return jnp.clip(coloured, low, high)

        return like(images, jax.vmap(one)(jax.random.split(key, len(images)), values))

    return augment


def geometric(kind: Array, size: Array) -> tuple[Float[Array, "2 2"], Float[Array, " 2"]]:
    """The affine map of an operation, of rows and columns in shares of a side; of kinds 5 and 6 the identity."""
    angle = jnp.deg2rad(TURN * size)
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    shears = [jnp.eye(2).at[axis, 1 - axis].set(SHEAR * size) for axis in (0, 1)]
    same = jnp.eye(2)
    matrices = jnp.stack([same, same, turn, *shears, same, same])
    shifts = jnp.zeros((OPERATIONS, 2)).at[0, 0].set(SHIFT * size).at[1, 1].set(SHIFT * size)
    return matrices[kind], shifts[kind]


def affine(
    image: Float[Array, "h w c"], matrix: Float[Array, "2 2"], shift: Float[Array, " 2"]
) -> Float[Array, "h w c"]:
    """The image whose pixel p is the old one at matrix (p - centre) + centre + shift * size; bilinear.

    Beyond the edge is the image's smallest value. `scipy.ndimage.affine_transform` with order 1 and mode "constant".
    """
    height, width, _ = image.shape
    size = jnp.array([height, width], jnp.float32)
    centre = (size - 1) / 2
    places = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")).reshape(2, -1)
    found = matrix @ (places - centre[:, None]) + (centre + shift * size)[:, None]

    def of_channel(channel: Float[Array, "h w"]) -> Float[Array, "h w"]:
        values = jax.scipy.ndimage.map_coordinates(channel, list(found), order=1, mode="constant", cval=0.0)
        return values.reshape(height, width)

    smallest = image.min()
    return jax.vmap(of_channel, in_axes=-1, out_axes=-1)(image - smallest) + smallest


@memoised
def random_zoom(smallest: float = 0.5) -> Augmentation:
    """Cut a square of `smallest` to 1 times the sides out of every image, and enlarge it to the old size; bilinear."""
    if not 0 < smallest <= 1:
        raise ValueError(f"smallest={smallest}: expected more than 0 and at most 1")

    def augment(key: PRNGKey, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
        check_images(images)

        def one(key: PRNGKey, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            of_size, of_place = jax.random.split(key)
            size = jax.random.uniform(of_size, (), minval=smallest, maxval=1.0)
            place = jax.random.uniform(of_place, (2,), minval=-0.5, maxval=0.5)
            return affine(image, size * jnp.eye(2), (1 - size) * place)

        return like(images, jax.vmap(one)(jax.random.split(key, len(images)), images.astype(jnp.float32)))

    return augment


def weak_change(inputs: Inputs) -> Augmentation:
    """Of images shifts by up to an eighth of the side, of vectors noise; ValueError for other rows."""
    if kind_of(inputs) == 4:
        return random_crop(max(1, inputs.shape[1] // 8))
    return noise(0.1)


def strong_change(inputs: Inputs) -> Augmentation:
    """Of images `rand_augment` and `cutout`, of vectors noise and `feature_dropout`; ValueError for other rows."""
    return chain(rand_augment(), cutout()) if kind_of(inputs) == 4 else chain(noise(0.3), feature_dropout(0.3))


def kind_of(inputs: Inputs) -> int:
    """The number of axes of images or vectors."""
    axes = getattr(inputs, "ndim", 0)
    if axes not in (2, 4) or (axes == 2 and not jnp.issubdtype(inputs.dtype, jnp.floating)):
        raise ValueError(
            "there is no change by default but for images [b, h, w, c] and vectors of floats [b, d]: expected a "
            "function (key, rows) -> rows"
        )
    return axes
