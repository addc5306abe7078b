"""Fast convolutions and dropout, and mean-field Gaussian layers.

The parameters of the latter are `Gaussian` leaves, so that drawing weights and the KL need no layer code. Without the
RNG stream `local` such a layer uses its mean weights; with it (training) every row gets its own noise. A whole draw
from the posterior is the same network with sampled weights in the place of the means (`posteriors.variational`).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.models.convolution import channel_masked_convolution, convolution
from al_jax.sweep import is_zero, known
from al_jax.types import PRNGKey

Initializer = Callable[..., Array]

Conv = functools.partial(nn.Conv, conv_general_dilated=convolution)
"""`flax.linen.Conv`, fast inside compiled loops on a CPU too."""


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Maxima of 2 x 2 windows, an odd last row or column left out: `flax.linen.max_pool(x, (2, 2), (2, 2))`.

    By reshaping: the gradient of XLA's windowed maximum is slow on a CPU. Equal maxima share the gradient.
    """
    n, height, width, channels = x.shape
    height, width = height // 2, width // 2
    windows = x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels)
    return windows.max(axis=(2, 4))


class Dropout(nn.Module):
    """`flax.linen.Dropout`, with as many random bits a unit as the rate needs: 1 for a rate of 1/2, not 32.

    Drawing masks is half the time of a training step of a small network on a CPU. Rates that are no multiple of 1/256
    are drawn by `jax.random.bernoulli`.
    """

    rate: float
    broadcast_dims: Sequence[int] = ()
    deterministic: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Zero each unit with probability `rate` and divide the others by 1 - rate; `broadcast_dims` share a mask.

        `broadcast_dims=(1, 2)` drops whole channels of images `[n, h, w, c]`.
        """
        if self.deterministic or is_zero(self.rate):
            return x
        shape = tuple(1 if axis in self.broadcast_dims else size for axis, size in enumerate(x.shape))
        keep = random_mask(self.make_rng("dropout"), 1.0 - self.rate, shape)
        return jnp.where(keep, x / (1.0 - self.rate), 0.0).astype(x.dtype)


class ChannelDropoutConv(nn.Module):
    """Dropout of whole channels, then a convolution: `[n, h, w, c] -> [n, h2, w2, features]`.

    The same function as `Dropout(rate, broadcast_dims=(1, 2))` followed by `Conv`, and cheaper for K draws of masks: a
    convolution of masked channels is a masked sum of per-channel convolutions, which are computed once for all draws.
    Max-pooling and ReLU commute with the dropout, so they may stand before it.
    """

    features: int
    kernel_size: Sequence[int]
    rate: float
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    deterministic: bool = False
    dtype: Any = None
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 o"]:
        """Drop channels with probability `rate`, divide the others by 1 - rate, convolve, add a bias."""
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        strides = _pair(self.strides)
        if self.deterministic or is_zero(self.rate):
            return convolution(x, kernel, strides, self.padding) + bias
        keep = random_mask(self.make_rng("dropout"), 1.0 - self.rate, (len(x), x.shape[-1]))
        masks = keep.astype(x.dtype) / (1.0 - self.rate)
        return channel_masked_convolution(x, masks, kernel, strides, self.padding) + bias


def random_mask(key: PRNGKey, probability: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Independent draws, True with exactly `probability`; where that is a multiple of 1/256, several a random word.

    A swept probability has other draws than the same number alone: it always takes 32 bits.
    """
    widths = (1, 2, 4, 8) if known(probability) else ()
    width = next((b for b in widths if (probability * 2**b).is_integer()), None)
    if width is None:
        return jax.random.bernoulli(key, probability, shape)
    a_word = 32 // width
    words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // a_word), 1), jnp.uint32)
    values = (words >> (width * jnp.arange(a_word, dtype=jnp.uint32))) & (2**width - 1)
    return values.reshape(*shape[:-1], -1)[..., : shape[-1]] < int(probability * 2**width)


class Gaussian(NamedTuple):
    """A factorised Gaussian over one parameter array, std = softplus(rho)."""

    mean: Float[Array, "..."]
    rho: Float[Array, "..."] | None  # None in a draw, which has no deviation

    @property
    def std(self) -> Float[Array, "..."]:
        """Standard deviation, same shape as `mean`."""
        assert self.rho is not None
        return jax.nn.softplus(self.rho)


def gaussian_init(init: Initializer, initial_std: float) -> Callable[..., Gaussian]:
    """Initialise the mean by `init` and every standard deviation at `initial_std`."""

    def create(key: Array, shape: Sequence[int]) -> Gaussian:
        return Gaussian(init(key, shape), jnp.full(shape, jnp.log(jnp.expm1(initial_std))))

    return create


class VariationalDense(nn.Module):
    """Dense layer with Gaussian weights: `[n, ..., d] -> [n, ..., features]`.

    Training uses local reparameterisation (Kingma et al. 2015, eq. 6): the pre-activations of a Gaussian layer are
    Gaussian, so they are sampled instead of the weights, independently per row, which lowers the gradient's variance.
    """

    features: int
    initial_std: float = 0.01
    dtype: Any = None
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n *d i"]) -> Float[Array, "n *d o"]:
        """Pre-activations from the mean weights, or sampled when the `local` stream is given."""
        kernel = self.param("kernel", gaussian_init(self.kernel_init, self.initial_std), (x.shape[-1], self.features))
        bias = self.param("bias", gaussian_init(nn.initializers.zeros, self.initial_std), (self.features,))
        x, weights, shift = nn.dtypes.promote_dtype(x, kernel.mean, bias.mean, dtype=self.dtype)
        mean = x @ weights + shift
        if not self.has_rng("local"):
            return mean
        variance = jnp.square(x) @ jnp.square(kernel.std).astype(x.dtype) + jnp.square(bias.std).astype(x.dtype)
        return mean + jnp.sqrt(variance) * jax.random.normal(self.make_rng("local"), mean.shape, x.dtype)


class VariationalConv(nn.Module):
    """Two-dimensional convolution with Gaussian weights: `[n, h, w, c] -> [n, h', w', features]`.

    Training uses Flipout (Wen et al. 2018): one perturbation of the kernel a batch, decorrelated between rows by
    random signs. Local reparameterisation would draw each position's noise independently, which weights that are
    shared over positions do not.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Any = "SAME"
    initial_std: float = 0.01
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 o"]:
        """Pre-activations from the mean weights, or sampled when the `local` stream is given."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", gaussian_init(self.kernel_init, self.initial_std), shape)
        bias = self.param("bias", gaussian_init(nn.initializers.zeros, self.initial_std), (self.features,))
        strides = _pair(self.strides)

        def convolve(inputs: Array, weights: Array) -> Array:
            return convolution(inputs, weights, strides, self.padding)

        mean = convolve(x, kernel.mean) + bias.mean
        if not self.has_rng("local"):
            return mean
        noise, sign_in, sign_out, noise_bias = jax.random.split(self.make_rng("local"), 4)
        perturbation = kernel.std * jax.random.normal(noise, shape)
        rows = (len(x), 1, 1)
        flipped = convolve(x * jax.random.rademacher(sign_in, (*rows, x.shape[-1]), x.dtype), perturbation)
        flipped = flipped * jax.random.rademacher(sign_out, (*rows, self.features), x.dtype)
        return mean + flipped + bias.std * jax.random.normal(noise_bias, (*rows, self.features))


def _pair(strides: int | Sequence[int]) -> tuple[int, ...]:
    return (strides, strides) if isinstance(strides, int) else tuple(strides)
