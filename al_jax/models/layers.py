"""Mean-field Gaussian layers. Their parameters are `Gaussian` leaves, so drawing weights and the KL need no layer code.

Without the RNG stream `local` a layer uses its mean weights; with it (training) every row gets its own noise. A whole
draw from the posterior is the same network with sampled weights in the place of the means (`posteriors.variational`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Initializer = Callable[..., Array]


class Gaussian(NamedTuple):
    """A factorised Gaussian over one parameter array, std = softplus(rho)."""

    mean: Float[Array, "..."]
    rho: Float[Array, "..."]

    @property
    def std(self) -> Float[Array, "..."]:
        """Standard deviation, same shape as `mean`."""
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
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n *d i"]) -> Float[Array, "n *d o"]:
        """Pre-activations from the mean weights, or sampled when the `local` stream is given."""
        kernel = self.param("kernel", gaussian_init(self.kernel_init, self.initial_std), (x.shape[-1], self.features))
        bias = self.param("bias", gaussian_init(nn.initializers.zeros, self.initial_std), (self.features,))
        mean = x @ kernel.mean + bias.mean
        if not self.has_rng("local"):
            return mean
        variance = jnp.square(x) @ jnp.square(kernel.std) + jnp.square(bias.std)
        return mean + jnp.sqrt(variance) * jax.random.normal(self.make_rng("local"), mean.shape)


class VariationalConv(nn.Module):
    """Two-dimensional convolution with Gaussian weights: `[n, h, w, c] -> [n, h', w', features]`.

    Training uses Flipout (Wen et al. 2018, eq. 3): one perturbation of the kernel a batch, decorrelated between rows by
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
        strides = (self.strides,) * 2 if isinstance(self.strides, int) else tuple(self.strides)

        def convolve(inputs: Array, weights: Array) -> Array:
            return jax.lax.conv_general_dilated(
                inputs, weights, strides, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        mean = convolve(x, kernel.mean) + bias.mean
        if not self.has_rng("local"):
            return mean
        noise, sign_in, sign_out, noise_bias = jax.random.split(self.make_rng("local"), 4)
        perturbation = kernel.std * jax.random.normal(noise, shape)
        rows = (len(x), 1, 1)
        flipped = convolve(x * jax.random.rademacher(sign_in, (*rows, x.shape[-1]), x.dtype), perturbation)
        flipped = flipped * jax.random.rademacher(sign_out, (*rows, self.features), x.dtype)
        return mean + flipped + bias.std * jax.random.normal(noise_bias, (*rows, self.features))
