"""Two-dimensional convolution that is fast inside compiled loops, on a CPU too.

XLA's CPU backend hands a convolution to slow loops once it stands inside `scan` or `while_loop`, where all of ours
stand: some 25 times slower than the same convolution outside. There `convolution` multiplies patches of a few images
at a time, so that they stay in cache, with the rows of the kernel as matrices. Other platforms keep their own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

NHWC = lax.conv_dimension_numbers((1, 1, 1, 1), (1, 1, 1, 1), ("NHWC", "HWIO", "NHWC"))
PATCH_BYTES = 1 << 18
"""Patches made at a time: enough for a large matrix product, few enough to stay in a core's own cache."""
ROW = 64
"""Numbers that a row of the kernel sees at a position, from which on it is a matrix of its own."""

Window = tuple[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]
"""Strides, and padding before and after, of height and width."""


def convolution(
    lhs: Float[Array, "n h w c"],
    rhs: Float[Array, "kh kw c o"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = ("NHWC", "HWIO", "NHWC"),
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Float[Array, "n h2 w2 o"]:
    """`jax.lax.conv_general_dilated`, for `flax.linen.Conv(..., conv_general_dilated=convolution)`.

    What is not a plain two-dimensional convolution over NHWC (dilated, grouped, another layout) is passed on to it.
    """
    dilated = any(d != 1 for dilation in (lhs_dilation, rhs_dilation) for d in dilation or ())
    grouped = feature_group_count != 1 or batch_group_count != 1
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if dilated or grouped or numbers != NHWC or preferred_element_type is not None:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )
    # A copy, which costs a compiled program nothing: jax.grad fails on a NumPy array that a vmap hands to a custom_vjp.
    return _convolve(jnp.array(lhs), jnp.array(rhs), _window(lhs, rhs, window_strides, padding), precision)


def channel_masked_convolution(
    x: Float[Array, "n h w c"],
    masks: Float[Array, "n c"],
    kernel: Float[Array, "kh kw c o"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Float[Array, "n h2 w2 o"]:
    """`convolution(x * masks[:, None, None, :], kernel, ...)`.

    Under a vmap over masks alone (posterior samples by channel dropout) every channel is convolved once, and each of
    the K results is a masked sum over channels: kh kw + K products a weight and position instead of K kh kw.
    """
    return _masked(jnp.array(x), jnp.array(masks), jnp.array(kernel), _window(x, kernel, strides, padding))


def _window(x: Array, kernel: Array, strides: Sequence[int], padding: str | Sequence[tuple[int, int]]) -> Window:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    (top, bottom), (left, right) = padding
    return (strides[0], strides[1]), ((top, bottom), (left, right))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, window: Window, precision: Any) -> Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=_by_patches(window, precision),
        default=lambda x, kernel: _native(x, kernel, window, precision),
    )


def _forward(x: Array, kernel: Array, window: Window, precision: Any) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, window, precision), (x, kernel)


def _backward(window: Window, precision: Any, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = residuals

    def native(argument: int) -> Callable:
        return lambda x, k, g: jax.vjp(lambda x, k: _native(x, k, window, precision), x, k)[1](g)[argument]

    return (
        lax.platform_dependent(x, kernel, g, cpu=_input_gradient(window, precision), default=native(0)),
        lax.platform_dependent(x, kernel, g, cpu=_kernel_gradient(window, precision), default=native(1)),
    )


_convolve.defvjp(_forward, _backward)


def _native(x: Array, kernel: Array, window: Window, precision: Any) -> Array:
    strides, padding = window
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _masked(x: Array, masks: Array, kernel: Array, window: Window) -> Array:
    return _masked_primal(window)(x, masks, kernel)


def _each_masked(window: Window, x: Array, masks: Array, kernel: Array) -> Array:
    return _convolve(x * masks[:, None, None, :], kernel, window, None)


def _masked_forward(x: Array, masks: Array, kernel: Array, window: Window) -> tuple[Array, tuple[Array, ...]]:
    return _masked(x, masks, kernel, window), (x, masks, kernel)


def _masked_backward(window: Window, residuals: tuple[Array, ...], g: Array) -> tuple[Array, ...]:
    return jax.vjp(functools.partial(_each_masked, window), *residuals)[1](g)


_masked.defvjp(_masked_forward, _masked_backward)


@functools.cache
def _masked_primal(window: Window) -> Callable[[Array, Array, Array], Array]:
    """`x [n, h, w, c], masks [1 or n, c], kernel -> [n, h2, w2, o]`; the masks may be one for all rows."""
    each = functools.partial(_each_masked, window)
    masked = custom_vmap(each)

    @masked.def_vmap
    def _(axis_size: int, batched: list[bool], x: Array, masks: Array, kernel: Array) -> tuple[Array, bool]:
        of_x, of_masks, of_kernel = batched
        if of_x and not of_masks and not of_kernel and len(masks) == 1:  # rows under one mask
            return _split(masked(_merge(x), masks, kernel), axis_size), True
        if of_masks and not of_x and not of_kernel and masks.shape[1] == 1:  # K masks, each of them for all rows
            channels = jax.vmap(lambda a, k: _convolve(a[..., None], k[:, :, None], window, None), (-1, 2))(x, kernel)
            sums = masks[:, 0] @ channels.reshape(len(channels), -1)
            return sums.reshape(axis_size, *channels.shape[1:]), True
        return jax.vmap(each, [0 if b else None for b in batched])(x, masks, kernel), True

    return masked


# On a CPU. Under vmap over rows the new axis joins the batch; over weights, one set follows the other.


@functools.cache
def _by_patches(window: Window, precision: Any) -> Callable[[Array, Array], Array]:
    """`x [n, h, w, c], kernel [kh, kw, c, o] -> [n, h2, w2, o]`."""

    @custom_vmap
    def convolve(x: Array, kernel: Array) -> Array:
        def one(images: Array) -> Array:
            patches = _patches(images, kernel.shape, window)
            matrices = kernel.reshape(len(patches), -1, kernel.shape[-1])
            products = [jnp.dot(p, m, precision=precision) for p, m in zip(patches, matrices, strict=True)]
            return jnp.swapaxes(functools.reduce(jnp.add, products), 0, 1)

        return _in_chunks(one, x, kernel.shape, window)

    @convolve.def_vmap
    def _(axis_size: int, batched: list[bool], x: Array, kernel: Array) -> tuple[Array, bool]:
        if not batched[1]:
            return _split(convolve(_merge(x), kernel), axis_size), True
        if not batched[0]:  # one set of patches serves all kernels
            size, *rest, width = kernel.shape
            out = convolve(x, jnp.moveaxis(kernel, 0, -2).reshape(*rest, size * width))
            return jnp.moveaxis(out.reshape(*out.shape[:-1], size, width), -2, 0), True
        return lax.map(lambda pair: convolve(*pair), (x, kernel)), True

    return convolve


@functools.cache
def _input_gradient(window: Window, precision: Any) -> Callable[[Array, Array, Array], Array]:
    """What the rows of the kernel send back, added up where their patches came from: `[n, h, w, c]`.

    A convolution of the padded `g` with the flipped kernel would multiply its zeros, too: 2.25 times the products for
    8 x 8 positions and a kernel of 5 x 5.
    """
    (down, across), ((top, bottom), (left, right)) = window

    @custom_vmap
    def gradient(x: Array, kernel: Array, g: Array) -> Array:
        rows, columns, channels, width = kernel.shape
        padded_size = {0: x.shape[1] + top + bottom, 2: x.shape[2] + left + right}

        def spread(a: Array, axis: int, first: int, stride: int) -> Array:
            config = [(0, 0, 0)] * a.ndim
            after = padded_size[axis] - first - (a.shape[axis] - 1) * stride - 1
            config[axis] = (first, after, stride - 1)
            return lax.pad(a, jnp.zeros((), a.dtype), config)

        def one(of_output: Array) -> Array:
            of_output = jnp.swapaxes(of_output, 0, 1)
            matrices = kernel.reshape(rows, columns * channels, width)
            sent = [jnp.dot(of_output, m.T, precision=precision) for m in matrices]
            strips = functools.reduce(jnp.add, [spread(a, 0, i, down) for i, a in enumerate(sent)])
            seen = jnp.split(strips, columns, axis=-1)
            padded = functools.reduce(jnp.add, [spread(a, 2, j, across) for j, a in enumerate(seen)])
            inner = lax.slice_in_dim(padded, top, top + x.shape[1])
            return jnp.swapaxes(lax.slice_in_dim(inner, left, left + x.shape[2], axis=2), 0, 1)

        size = _chunk(x, kernel.shape, window)
        return _merge(lax.map(one, _chunked(g, size)))[: len(g)]

    @gradient.def_vmap
    def _(axis_size: int, batched: list[bool], *args: Array) -> tuple[Array, bool]:
        x, kernel, g = (
            a if b or i == 1 else jnp.broadcast_to(a, (axis_size, *a.shape))
            for i, (a, b) in enumerate(zip(args, batched, strict=True))
        )
        if not batched[1]:
            return _split(gradient(_merge(x), kernel, _merge(g)), axis_size), True
        return lax.map(lambda row: gradient(*row), (x, kernel, g)), True

    return gradient


@functools.cache
def _kernel_gradient(window: Window, precision: Any) -> Callable[[Array, Array, Array], Array]:
    """Patches times `g`, summed over chunks of images: `[kh, kw, c, o]`."""

    @custom_vmap
    def gradient(x: Array, kernel: Array, g: Array) -> Array:
        def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
            images, of_output = pair
            patches = [p.reshape(-1, p.shape[-1]) for p in _patches(images, kernel.shape, window)]
            matrix = jnp.swapaxes(of_output, 0, 1).reshape(-1, kernel.shape[-1])
            # In this order: patches.T @ matrix takes more than three times as long.
            return total + jnp.concatenate([jnp.dot(matrix.T, p, precision=precision) for p in patches], -1), None

        size = _chunk(x, kernel.shape, window)
        start = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
        total, _ = lax.scan(add, start, (_chunked(x, size), _chunked(g, size)))
        return total.T.reshape(kernel.shape)

    @gradient.def_vmap
    def _(axis_size: int, batched: list[bool], *args: Array) -> tuple[Array, bool]:
        stacked = [a if b else jnp.broadcast_to(a, (axis_size, *a.shape)) for a, b in zip(args, batched, strict=True)]
        return lax.map(lambda row: gradient(*row), tuple(stacked)), True

    return gradient


def _patches(x: Array, kernel_shape: Sequence[int], window: Window) -> list[Array]:
    """What the kernel sees at every position: `x [n, h, w, c] -> [h2, n, w2, size]` for each matrix it is cut into.

    A matrix is a row of the kernel, `size = kw * c`: its patches are a part of those of all rows, which are made but
    once. Of a few channels such products would be too thin, and the whole kernel is one matrix, `size = kh * kw * c`.
    """
    (down, across), padding = window
    height, width = _output_size(x.shape, kernel_shape, window)
    x = jnp.swapaxes(jnp.pad(x, ((0, 0), *padding, (0, 0))), 0, 1)
    seen = [lax.slice_in_dim(x, j, j + (width - 1) * across + 1, across, 2) for j in range(kernel_shape[1])]
    strips = jnp.concatenate(seen, axis=-1)
    rows = [lax.slice_in_dim(strips, i, i + (height - 1) * down + 1, down) for i in range(kernel_shape[0])]
    return [jnp.concatenate(rows, axis=-1)] if _is_thin(kernel_shape) else rows


def _is_thin(kernel_shape: Sequence[int]) -> bool:
    """Whether a row of the kernel is too small for a matrix of its own."""
    return kernel_shape[1] * kernel_shape[2] < ROW


def _output_size(shape: Sequence[int], kernel_shape: Sequence[int], window: Window) -> tuple[int, int]:
    strides, padding = window
    height, width = (
        (length + sum(pads) - size) // stride + 1
        for length, size, stride, pads in zip(shape[1:3], kernel_shape[:2], strides, padding, strict=True)
    )
    return height, width


def _chunk(x: Array, kernel_shape: Sequence[int], window: Window) -> int:
    """Images whose patches, or those of a row of the kernel, fill `PATCH_BYTES`, and at most all."""
    height, width = _output_size(x.shape, kernel_shape, window)
    together = kernel_shape[0] if _is_thin(kernel_shape) else 1
    of_image = height * width * together * kernel_shape[1] * kernel_shape[2] * x.dtype.itemsize
    return max(1, min(len(x), PATCH_BYTES // max(of_image, 1)))


def _chunked(x: Array, size: int) -> Array:
    """`[n, ...] -> [chunks, size, ...]`, the last chunk filled with zeros."""
    chunks = -(-len(x) // size)
    padded = jnp.pad(x, ((0, chunks * size - len(x)), *((0, 0),) * (x.ndim - 1)))
    return padded.reshape(chunks, size, *x.shape[1:])


def _in_chunks(function: Callable, x: Array, kernel_shape: Sequence[int], window: Window) -> Array:
    size = _chunk(x, kernel_shape, window)
    if size == len(x):
        return function(x)
    return _merge(lax.map(function, _chunked(x, size)))[: len(x)]


def _merge(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _split(x: Array, size: int) -> Array:
    return x.reshape(size, -1, *x.shape[1:])
