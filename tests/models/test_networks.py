"""The networks of the papers: their layers, one function a draw, shared work, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from al_jax.likelihood import categorical
from al_jax.models import EMNISTCNN, MLP, BatchBALDCNN, GalCNN, KerasCNN, LeNet, ResNet18, VariationalDense
from al_jax.models.forward import forward, forward_rows, init_params
from al_jax.posteriors import ensemble, mc_dropout, point, variational
from al_jax.testing import check_posterior
from al_jax.training import Training

KEY = jax.random.key(0)
GREY, COLOUR = (28, 28, 1), (32, 32, 3)
PARAMETERS = {  # by hand, layer by layer: kernel * inputs * outputs + outputs
    GalCNN: (GREY, 16 * 32 + 32 + 16 * 32 * 32 + 32 + 11 * 11 * 32 * 128 + 128 + 1290),
    BatchBALDCNN: (GREY, 25 * 32 + 32 + 25 * 32 * 64 + 64 + 1024 * 128 + 128 + 1290),
    EMNISTCNN: (GREY, 9 * 32 + 32 + 9 * 32 * 64 + 64 + 9 * 64 * 128 + 128 + 2048 * 512 + 512 + 5130),
    KerasCNN: (COLOUR, 27 * 32 + 32 + 9248 + 288 * 64 + 64 + 576 * 64 + 64 + 6 * 6 * 64 * 512 + 512 + 5130),
    LeNet: (COLOUR, 75 * 6 + 6 + 150 * 16 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 850),
    ResNet18: (COLOUR, 11_173_962),  # as of the same network with BatchNorm in PyTorch
}


def images(shape: tuple[int, ...], size: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, *shape)).astype(np.uint8)


@pytest.mark.parametrize("network", PARAMETERS)
def test_a_network_has_the_parameters_of_the_paper(network):
    shape, expected = PARAMETERS[network]
    module = network(10, mean=33.0, std=78.0)
    params = jax.eval_shape(lambda: init_params(module, KEY, images(shape)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    outputs = jax.eval_shape(lambda params: forward(module, params, images(shape)), params)
    assert outputs.logits.shape == (6, 10)
    assert outputs.features.ndim == 2


SMALL = {
    "gal_cnn": (GalCNN(3, mean=128.0, std=70.0), (10, 9, 1)),
    "batchbald_cnn": (BatchBALDCNN(3, mean=128.0, std=70.0), (16, 17, 1)),
    "emnist_cnn": (EMNISTCNN(3, mean=128.0, std=70.0), (14, 14, 2)),
    "keras_cnn": (KerasCNN(3, mean=128.0, std=70.0), (10, 10, 3)),
    "lenet": (LeNet(3, mean=128.0, std=70.0), (16, 16, 3)),
    "resnet18": (ResNet18(3, mean=128.0, std=70.0, width=4), (16, 16, 3)),
}


@pytest.mark.parametrize("name", SMALL)
def test_k_draws_at_once_are_the_network_row_by_row_and_draw_by_draw(name):
    module, shape = SMALL[name]
    x, keys = images(shape, 3), jax.random.split(KEY, 4)
    params = jax.jit(lambda: init_params(module, KEY, x))()
    together = jax.jit(lambda x: jax.vmap(lambda key: forward_rows(module, params, x, {"dropout": key}).logits)(keys))
    alone = jax.jit(lambda x, key: forward(module, params, x, {"dropout": key}).logits[0])
    expected = [[alone(x[i : i + 1], key) for i in range(3)] for key in keys]
    np.testing.assert_allclose(together(x), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["gal_cnn", "batchbald_cnn", "lenet"])
def test_the_laws_hold_for_mc_dropout(name):
    module, shape = SMALL[name]
    training = Training(optax.adam(1e-3), minibatch_size=4, steps=2)
    check_posterior(mc_dropout(module, categorical(), training), images(shape, 8), np.arange(8) % 3)


@pytest.mark.parametrize("name", ["ensemble", "variational"])
def test_the_laws_hold_for_other_posteriors_over_a_convolutional_network(name):
    training = Training(optax.adam(1e-3), minibatch_size=4, steps=2)
    if name == "variational":
        module = LeNet(3, 0.0, 128.0, 70.0, dense=VariationalDense)
        posterior = variational(module, categorical(), training)
    else:
        posterior = ensemble(point(LeNet(3, 0.0, 128.0, 70.0), categorical(), training), 2)
    check_posterior(posterior, images((16, 16, 3), 8), np.arange(8) % 3)


def flops_a_row(module, shape, samples: int) -> float:
    """Of the program for an accelerator, where a convolution is one operation that XLA counts."""
    params = jax.eval_shape(lambda: init_params(module, KEY, images(shape)))

    def draws(params, x):
        keys = jax.random.split(KEY, samples)
        return jax.vmap(lambda key: forward_rows(module, params, x, {"dropout": key}).logits)(keys)

    traced = jax.jit(draws).trace(params, jax.ShapeDtypeStruct((8, *shape), np.uint8))
    return traced.lower(lowering_platforms=("tpu",)).cost_analysis()["flops"] / 8


@pytest.mark.parametrize(
    ("module", "shape", "ratio"),
    [(GalCNN(10), GREY, 6.8), (BatchBALDCNN(10), GREY, 8.0), (LeNet(10), COLOUR, 3.5), (ResNet18(10), COLOUR, 1.01)],
    ids=lambda value: type(value).__name__,
)
def test_100_draws_cost_a_few_forward_passes(module, shape, ratio):
    assert flops_a_row(module, shape, 100) < ratio * flops_a_row(module, shape, 1)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (GalCNN(3), (7, 28, 1)),
        (BatchBALDCNN(3), (28, 15, 1)),
        (EMNISTCNN(3), (13, 13, 1)),
        (KerasCNN(3), (9, 10, 3)),
        (LeNet(3), (15, 15, 3)),
        (ResNet18(3), (7, 7, 3)),
        (LeNet(3), (64,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images_that_are_too_small_are_named(module, shape):
    with pytest.raises(ValueError, match=r"network=\w+ takes images of at least .* rows are \d+"):
        init_params(module, KEY, images(shape))


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_images_pass(name):
    module, _ = SMALL[name]
    smallest = {"gal_cnn": 8, "batchbald_cnn": 16, "emnist_cnn": 14, "keras_cnn": 10, "lenet": 16, "resnet18": 8}[name]
    outputs = jax.eval_shape(lambda x: forward(module, init_params(module, KEY, x), x), images((smallest, smallest, 1)))
    assert outputs.logits.shape == (6, 3)


@pytest.mark.parametrize("module", [*(module for module, _ in SMALL.values()), MLP(3, (8,))], ids=[*SMALL, "mlp"])
def test_in_bfloat16_only_the_computations_change(module):
    shape = dict(SMALL.values()).get(module, (8, 8, 3))
    x = images(shape)
    low = module.clone(dtype=jnp.bfloat16)
    params = jax.jit(lambda: init_params(low, KEY, x))()
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    exact, rounded = (jax.jit(lambda m=m: forward(m, params, x).logits)() for m in (module, low))
    assert rounded.dtype == np.float32
    difference = np.abs(exact - rounded).max()
    assert 1e-5 < difference < 0.1 * np.abs(exact).max() + 0.05
