"""The fast convolution is `lax.conv_general_dilated`, in values and gradients, whatever is mapped over it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import al_jax.models.convolution as fast
from al_jax.models.convolution import channel_masked_convolution, convolution
from al_jax.testing import lowered

NUMBERS = ("NHWC", "HWIO", "NHWC")
CASES = [  # images, kernel, strides, padding
    ((5, 9, 8, 3), (3, 3, 3, 4), (1, 1), "SAME"),
    ((5, 9, 8, 3), (3, 3, 3, 4), (2, 2), "SAME"),
    ((20, 14, 14, 1), (5, 5, 1, 6), (1, 1), "VALID"),
    ((3, 8, 8, 4), (1, 1, 4, 5), (2, 2), "VALID"),
    ((3, 9, 7, 2), (4, 2, 2, 3), (3, 2), ((2, 1), (0, 3))),
    ((5, 9, 8, 16), (3, 4, 16, 3), (2, 1), ((1, 0), (2, 1))),  # rows of the kernel that are matrices of their own
]


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


def by_loops(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """A convolution without padding, by its definition, in float64."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    height, width = ((x.shape[a] - kernel.shape[a - 1]) // strides[a - 1] + 1 for a in (1, 2))
    out = np.zeros((len(x), height, width, kernel.shape[3]))
    for i, j in np.ndindex(height, width):
        top, left = i * strides[0], j * strides[1]
        window = x[:, top : top + kernel.shape[0], left : left + kernel.shape[1]]
        out[:, i, j] = np.einsum("nhwc,hwco->no", window, kernel)
    return out


@pytest.fixture(params=[1_000, 2 << 20], ids=["chunks", "whole"])
def _patch_bytes(request, monkeypatch):
    monkeypatch.setattr(fast, "PATCH_BYTES", request.param)


@given(
    images=st.tuples(st.integers(1, 4), st.integers(3, 9), st.integers(3, 9), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@settings(max_examples=25, deadline=None)
def test_it_is_a_convolution_by_its_definition(images, size, strides):
    x, kernel = arrays(images, (*size[:2], images[3], size[2]))
    np.testing.assert_allclose(convolution(x, kernel, strides, "VALID"), by_loops(x, kernel, strides), atol=1e-4)


@pytest.mark.usefixtures("_patch_bytes")
@pytest.mark.parametrize(("images", "kernel", "strides", "padding"), CASES)
@pytest.mark.parametrize("mapped", [None, (0, None), (None, 0), (0, 0)], ids=["plain", "images", "kernels", "both"])
def test_values_and_gradients_are_those_of_xla(images, kernel, strides, padding, mapped):
    x, weights = arrays(images, kernel)

    def results(convolve):
        def total(x, weights):
            out = convolve(x, weights, strides, padding, dimension_numbers=NUMBERS)
            return jnp.sum(jnp.sin(out)), out

        function = jax.value_and_grad(total, (0, 1), has_aux=True)
        if mapped is None:
            return jax.jit(function)(x, weights)
        stacked = [np.stack([a, 0.5 * a, -a]) if m == 0 else a for a, m in zip((x, weights), mapped, strict=True)]
        return jax.jit(jax.vmap(function, mapped))(*stacked)

    (_, ours), gradients = results(convolution)
    (_, theirs), expected = results(jax.lax.conv_general_dilated)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        assert gradient.shape == other.shape
        np.testing.assert_allclose(gradient, other, atol=1e-5 * np.abs(other).max() + 1e-5)


def test_the_gradient_of_a_mapped_convolution_sums_over_what_is_shared():
    x, weights = arrays((2, 6, 6, 3), (3, 3, 3, 2))
    several = np.stack([x, 2 * x])

    def gradient(convolve):
        mapped = jax.vmap(lambda x, k: convolve(x, k, (1, 1), "SAME", dimension_numbers=NUMBERS), (0, None))
        return jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(mapped(several, k)))))(weights)

    np.testing.assert_allclose(gradient(convolution), gradient(jax.lax.conv_general_dilated), atol=1e-4)


def test_float64_in_float64_out():
    with jax.enable_x64(True):
        x, weights = (a.astype(np.float64) for a in arrays((3, 7, 7, 2), (3, 3, 2, 4)))
        out = convolution(x, weights, (2, 2), "VALID")
        assert out.dtype == np.float64
        np.testing.assert_allclose(out, by_loops(x, weights, (2, 2)), atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_dilation": 2},
        {"feature_group_count": 2},
        {"padding": "CIRCULAR"},
        {"input_dilation": 2, "padding": ((1, 1), (1, 1))},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_it_cannot_do_itself_it_passes_on(options):
    (x,) = arrays((2, 8, 8, 4))
    theirs, ours = nn.Conv(6, (3, 3), **options), nn.Conv(6, (3, 3), **options, conv_general_dilated=convolution)
    params = theirs.init(jax.random.key(0), x)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)


def test_in_one_dimension_it_passes_on():
    (x,) = arrays((2, 8, 4))
    theirs, ours = nn.Conv(6, (3,)), nn.Conv(6, (3,), conv_general_dilated=convolution)
    params = theirs.init(jax.random.key(0), x)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)


def test_accelerators_keep_their_own_convolution_and_a_cpu_has_none_in_its_loops():
    x, weights = arrays((16, 9, 9, 2), (3, 3, 2, 4))

    def steps(x, weights):
        def step(weights, _):
            return weights - jax.grad(lambda k: jnp.sum(convolution(x, k, (1, 1), "SAME") ** 2))(weights), None

        return jax.lax.scan(step, weights, length=3)[0]

    text = lowered(steps, x, weights)
    assert text.count("stablehlo.convolution") >= 2, "forward, and the gradient of the kernel"
    on_cpu = jax.jit(steps).lower(x, weights).compile().as_text()
    assert " convolution(" not in on_cpu
    assert " dot(" in on_cpu or "custom-call" in on_cpu


# Channel dropout before a convolution


def masked(x, masks, kernel, padding="VALID"):
    return channel_masked_convolution(x, masks, kernel, (1, 1), padding)


def naive(x, masks, kernel, padding="VALID"):
    return jax.lax.conv_general_dilated(x * masks[:, None, None], kernel, (1, 1), padding, dimension_numbers=NUMBERS)


MAPS = {
    "plain": (None, None, None),
    "masks": (None, 0, None),
    "images": (0, None, None),
    "images and masks": (0, 0, None),
    "kernels": (None, None, 0),
    "all": (0, 0, 0),
}


@pytest.mark.parametrize("rows", [1, 4], ids=["one mask for all rows", "a mask a row"])
@pytest.mark.parametrize("axes", MAPS.values(), ids=MAPS)
def test_masked_channels_equal_the_naive_form_in_values_and_gradients(axes, rows):
    x, kernel = arrays((4, 7, 8, 5), (3, 2, 5, 6))
    masks = 2 * np.random.default_rng(1).integers(0, 2, (rows, 5)).astype(np.float32)
    flipped = {0: x[::-1], 1: 2 - masks, 2: -kernel}
    args = [
        np.stack([a, flipped[i], a]) if axis == 0 else a
        for i, (a, axis) in enumerate(zip((x, masks, kernel), axes, strict=True))
    ]

    def results(function):
        def total(*args):
            out = function(*args) if axes == MAPS["plain"] else jax.vmap(function, axes)(*args)
            return jnp.sum(jnp.sin(out)), out

        return jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*args)

    ((_, ours), gradients), ((_, theirs), expected) = results(masked), results(naive)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-5 * np.abs(other).max() + 1e-5)


def test_k_masks_share_the_per_channel_convolutions():
    x, kernel = arrays((2, 12, 12, 8), (5, 5, 8, 16))

    def flops(function, samples):
        mapped = jax.jit(jax.vmap(function, (None, 0, None)))
        traced = mapped.trace(x, np.ones((samples, 1, 8), np.float32), kernel)
        return traced.lower(lowering_platforms=("tpu",)).cost_analysis()["flops"]

    once, a_sample = 2 * 2 * 64 * 25 * 8 * 16, 2 * 2 * 64 * 8 * 16
    assert flops(masked, 100) == pytest.approx(once + 100 * a_sample, rel=0.05)
    assert flops(naive, 100) > 20 * flops(masked, 100)
