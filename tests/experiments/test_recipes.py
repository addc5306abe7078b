"""The papers' recipes as configured, against the recipe tables of the papers written out here: nobody edits them
unnoticed."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from test_images import PREPARED

from al_jax.data import load, original_rows, tfds_rows
from experiments import builders
from experiments import config as configs
from experiments.config import Config
from experiments.datasets import build_dataset, original_pool
from experiments.recipes import beluch2018, gal2017, kirsch2019
from experiments.recipes.beluch2018 import Beluch2018
from experiments.recipes.gal2017 import Gal2017
from experiments.recipes.kirsch2019 import Kirsch2019

NO_DATA = pytest.mark.skipif(not PREPARED.is_dir(), reason="no ../shared/tfds: the real data sets are not here")


def flat(config: Config) -> dict[str, Any]:
    """All fields by their names on the command line."""
    return {name: value for section in dataclasses.asdict(config).values() for name, value in section.items()}


def deviations(config: Config, expected: dict[str, Any]) -> dict[str, Any]:
    """What is neither as expected nor a default."""
    fields, default = flat(config), flat(Config())
    return {name: value for name, value in fields.items() if value != expected.get(name, default[name])}


GAL = {
    "dataset": "mnist",
    "pool_size": 40_000 + 20,
    "posterior": "mc_dropout",
    "network": "gal_cnn",
    "dropout": 0.5,
    "mean": 0.0,
    "std": 255.0,
    "learning_rate": 0.001,
    "minibatch_size": 128,
    "steps": None,
    "epochs": 50,
    "patience": None,
    "weight_decay": 2.5,
    "weight_decay_over_count": True,
    "weight_decay_of": "^Dense_0/kernel$",
    "initial_labels": 20,
    "balanced": True,
    "batch_size": 10,
    "max_labels": 1000,
    "num_samples": 100,
    "pool_subset": 2000,
    "evaluate": "point",
    "warm_start": False,
}
GAL_ARMS = {
    "bald": {"acquisition": "bald"},
    "bald_fresh_masks": {"acquisition": "bald", "posterior": "mc_dropout_fresh_masks"},
    "variation_ratio": {"acquisition": "variation_ratio"},
    "max_entropy": {"acquisition": "entropy"},
    "mean_std": {"acquisition": "mean_std"},
    "mean_std_2017": {"acquisition": "mean_std_2017"},
    "random": {"acquisition": "random", "weight_decay": 3.5},
    "det_max_entropy": {"acquisition": "entropy", "posterior": "point"},
    "det_bald": {"acquisition": "bald", "posterior": "point"},
    "det_variation_ratio": {"acquisition": "variation_ratio", "posterior": "point"},
    "det_mean_std": {"acquisition": "mean_std", "posterior": "point"},
}


def test_gals_recipe():
    assert set(gal2017.ARMS) == set(GAL_ARMS)
    for arm, of_arm in GAL_ARMS.items():
        assert deviations(gal2017.recipe(Gal2017(), arm), GAL | of_arm) == {}, arm
        # The preset for CPUs ends earlier, and changes nothing else.
        reduced = gal2017.recipe(Gal2017(preset="cpu"), arm)
        assert deviations(reduced, GAL | of_arm) == {"max_labels": 300}, arm


KIRSCH = {
    "dataset": "mnist",
    "initial_rows": (
        *(38043, 40091, 17418, 2094, 39879, 3133, 5011, 40683, 54379, 24287),
        *(9849, 59305, 39508, 39356, 8758, 52579, 13655, 7636, 21562, 41329),
    ),
    "validation_size": 1024,
    "pool_size": None,
    "repeated": 1,
    "num_configurations": 40_000,
    "posterior": "mc_dropout",
    "network": "batchbald_cnn",
    "dropout": 0.5,
    "mean": 0.1307 * 255,
    "std": 0.3081 * 255,
    "learning_rate": 0.001,
    "minibatch_size": 64,
    "steps": 30 * 79,
    "evaluate_every": 79,
    "patience": 3,
    "monitor": "accuracy",
    "epochs": None,
    "weight_decay": 0.0,
    "initial_labels": 20,
    "balanced": True,
    "batch_size": 10,
    "max_labels": 300,
    "num_samples": 100,
    "test_samples": None,
    "pool_subset": None,
    "evaluate": "samples",
    "warm_start": False,
}
REPEATED = {"repeated": 3, "repeated_noise": 0.1 * 0.3081 * 255, "validation_size": 3072, "num_samples": 10}
REPEATED |= {"steps": 40 * 79}
EMNIST = {"dataset": "emnist/balanced", "initial_rows": (), "initial_labels": 0, "balanced": False}
EMNIST |= {"validation_size": 16_384, "pool_size": 94_000, "pool_subset": 47_000, "network": "emnist_cnn"}
EMNIST |= {"steps": 40 * 316, "evaluate_every": 316, "num_samples": 10, "batch_size": 5}
BATCHBALD, BALD = {"acquisition": "batchbald"}, {"acquisition": "bald"}
KIRSCH_ARMS = {
    "batchbald_b5": {**BATCHBALD, "batch_size": 5},
    "batchbald_b10": BATCHBALD,
    "batchbald_b40": {**BATCHBALD, "batch_size": 40},
    "bald_b1": {**BALD, "batch_size": 1},
    "bald_b10": BALD,
    "bald_b10_k20": {**BALD, "num_samples": 20},
    "bald_b40_k20": {**BALD, "num_samples": 20, "batch_size": 40},
    "batchbald_b10_k10": {**BATCHBALD, "num_samples": 10},
    "batchbald_b10_k1000": {**BATCHBALD, "num_samples": 1000, "test_samples": 100},
    "power_bald_b10": {**BALD, "stochastic": "power", "coldness": 1.0},
    "repeated_batchbald": {**BATCHBALD, **REPEATED},
    "repeated_bald": {**BALD, **REPEATED},
    "repeated_random": {"acquisition": "random", **REPEATED, "batch_size": 5},
    "repeated_mean_std": {"acquisition": "mean_std", **REPEATED},
    "repeated_variation_ratio": {"acquisition": "variation_ratio", **REPEATED},
    **{
        f"repeated{copies}_{name}": {"acquisition": name, **REPEATED, "repeated": copies}
        for copies in (2, 5)
        for name in ("batchbald", "bald", "random")
    },
    "emnist_batchbald": {**BATCHBALD, **EMNIST},
    "emnist_bald": {**BALD, **EMNIST},
    "emnist_random": {"acquisition": "random", **EMNIST},
}


def test_kirschs_recipe():
    assert set(kirsch2019.ARMS) == set(KIRSCH_ARMS)
    for arm, of_arm in KIRSCH_ARMS.items():
        assert deviations(kirsch2019.recipe(Kirsch2019(), arm), KIRSCH | of_arm) == {}, arm
        balanced = kirsch2019.recipe(Kirsch2019(initial="balanced"), arm)
        assert deviations(balanced, KIRSCH | of_arm | {"initial_rows": ()}) == {}, arm


@pytest.mark.parametrize(
    ("arm", "reductions"),
    [
        ("batchbald_b10", {"pool_subset": 10_000, "test_samples": 20, "num_configurations": 10_000}),
        ("batchbald_b10_k10", {"pool_subset": 10_000, "test_samples": 10, "num_configurations": 10_000}),
        ("batchbald_b10_k1000", {"pool_subset": 10_000, "test_samples": 20, "num_configurations": 10_000}),
        ("repeated_batchbald", {"pool_size": 10_000, "num_configurations": 10_000}),
        ("repeated_random", {"pool_size": 10_000, "num_configurations": 10_000, "batch_size": 10}),
        ("repeated5_bald", {"pool_size": 10_000, "num_configurations": 10_000}),
        ("emnist_batchbald", {"pool_subset": 5_000, "num_configurations": 10_000}),
    ],
)
def test_kirschs_reductions_for_a_cpu(arm, reductions):
    assert deviations(kirsch2019.recipe(Kirsch2019(preset="cpu"), arm), KIRSCH | KIRSCH_ARMS[arm]) == reductions


BELUCH = GAL | {"evaluate": "samples"}
CIFAR = {
    "dataset": "cifar10",
    "network": "keras_cnn",
    "dropout": 0.5,
    "mean": 0.0,
    "std": 255.0,
    "learning_rate": 0.001,
    "minibatch_size": 32,
    "steps": None,
    "epochs": 100,
    "initial_labels": 200,
    "balanced": True,
    "batch_size": 400,
    "max_labels": 9800,
    "pool_subset": None,
    "evaluate": "samples",
    "augmentation": "none",
}
ENSEMBLE = {"posterior": "ensemble", "members": 5, "num_samples": 5}
DROPOUT = {"posterior": "mc_dropout", "num_samples": 25}
BELUCH_PARTS: dict[str, dict[str, Any]] = {
    "ens": BELUCH | ENSEMBLE,
    "mc": BELUCH | DROPOUT,
    "debal": BELUCH | {"posterior": "debal", "members": 3, "num_samples": 3 * 100},
    "cifar_ens": CIFAR | ENSEMBLE,
    "cifar_mc": CIFAR | DROPOUT,
}


def test_beluchs_recipe():
    acquisitions = ("variation_ratio", "entropy", "bald", "random")
    arms = {(part, name): f"{part}_{name}" for part in BELUCH_PARTS for name in acquisitions}
    del arms["debal", "random"]
    assert set(beluch2018.ARMS) == set(arms.values())
    for (part, name), arm in arms.items():
        expected = BELUCH_PARTS[part] | {"acquisition": name}
        assert deviations(beluch2018.recipe(Beluch2018(), arm), expected) == {}, arm
        reductions = {"max_labels": 3000, "pool_subset": 5000} if "cifar" in arm else {"max_labels": 300}
        assert deviations(beluch2018.recipe(Beluch2018(preset="cpu"), arm), expected) == reductions, arm
    assert [arm for arm in Beluch2018().arms if arm.startswith("cifar")] == []
    assert Beluch2018().seeds == 5


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (
            gal2017.RECIPE,
            {
                "Conv_0": (4, 4, 1, 32),
                "Conv_1": (4, 4, 32, 32),
                "Dense_0": (11 * 11 * 32, 128),
                "Dense_1": (128, 10),
            },
        ),
        (
            kirsch2019.MNIST,
            {
                "Conv_0": (5, 5, 1, 32),
                "ChannelDropoutConv_0": (5, 5, 32, 64),
                "Dense_0": (1024, 128),
                "Dense_1": (128, 10),
            },
        ),
        (
            kirsch2019.EMNIST,
            {
                "Conv_0": (3, 3, 1, 32),
                "ChannelDropoutConv_0": (3, 3, 32, 64),
                "ChannelDropoutConv_1": (3, 3, 64, 128),
                "Dense_0": (2048, 512),
                "Dense_1": (512, 47),
            },
        ),
        (
            beluch2018.CIFAR,
            {
                "Conv_0": (3, 3, 3, 32),
                "Conv_1": (3, 3, 32, 32),
                "Conv_2": (3, 3, 32, 64),
                "Conv_3": (3, 3, 64, 64),
                "Dense_0": (6 * 6 * 64, 512),
                "Dense_1": (512, 10),
            },
        ),
    ],
    ids=["gal", "kirsch", "kirsch, emnist", "beluch, cifar"],
)
def test_the_networks_layers(config, shapes):
    module = builders.NETWORKS[config.posterior.network](num_classes=47 if "emnist" in config.data.dataset else 10)
    assert isinstance(module, nn.Module)
    shape = (1, 32, 32, 3) if config.data.dataset == "cifar10" else (1, 28, 28, 1)
    params = jax.eval_shape(module.init, jax.random.key(0), np.zeros(shape, np.float32))["params"]
    assert {name: layer["kernel"].shape for name, layer in params.items()} == shapes


@NO_DATA
def test_the_papers_initial_rows_are_two_of_each_class_and_first_in_the_pool(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    mnist = load("mnist")
    places = tfds_rows(original_rows("mnist", "train", 60_000))[list(kirsch2019.INITIAL)]
    assert np.bincount(mnist.labels[places]).tolist() == [2] * 10
    dataset = build_dataset(kirsch2019.MNIST.data)
    assert len(dataset.labels) == 60_000 - 1024
    assert np.array_equal(dataset.inputs[:20], mnist.inputs[places])
    assert np.array_equal(dataset.labels[:20], mnist.labels[places])
    (rows,) = np.unique(builders.build_initial(configs.changed(kirsch2019.MNIST, seeds=3)), axis=0)
    assert rows.tolist() == list(range(20))
    # Every pool row is the image that `original_pool` says, and no validation row is in the pool.
    origin = original_pool(kirsch2019.MNIST.data)
    assert origin[:20].tolist() == list(kirsch2019.INITIAL)
    assert len(set(origin.tolist())) == len(origin)
    by_number = mnist.inputs[tfds_rows(original_rows("mnist", "train", 60_000))]
    assert np.array_equal(by_number[origin[::500]], dataset.inputs[::500])


@NO_DATA
def test_gals_pool(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    dataset = build_dataset(gal2017.RECIPE.data)
    assert dataset.inputs.shape == (40_020, 28, 28, 1)
    assert dataset.validation_labels is None
    assert len(np.unique(original_pool(gal2017.RECIPE.data))) == 40_020


def test_repeated_rows_know_their_origin():
    config = configs.DataConfig("digits", validation_size=50, pool_size=300, repeated=3, repeated_noise=0.0)
    dataset, origin = build_dataset(config), original_pool(config)
    assert len(dataset.labels) == 900
    assert np.array_equal(load("digits").inputs[origin], dataset.inputs)
    assert np.array_equal(*origin.reshape(3, 300)[:2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"initial_rows": (1, 1)}, "^initial_rows=.* expected different rows of the 1297"),
        ({"initial_rows": (1297,)}, "^initial_rows=.* expected different rows of the 1297"),
        ({"initial_rows": (3,), "rare_classes": (1,)}, "^rare_classes=.*initial_rows"),
        ({"pool_size": 1298}, "^pool_size=1298: expected 1 to 1297"),
        ({"pool_size": 2, "initial_rows": (3, 4)}, "^pool_size=2: expected 3 to 1297"),
        ({"std": 0.0}, "^std=0.0: expected a positive number"),
    ],
)
def test_a_bad_data_option_is_named(fields, message):
    config = configs.changed(Config(), **fields)
    with pytest.raises(ValueError, match=message):
        builders.build_posterior(config.posterior, builders.build_training(config.training), build_dataset(config.data))


def test_an_unknown_field_is_a_mistake_in_the_code():
    with pytest.raises(TypeError, match="no section has batchsize"):
        configs.changed(Config(), batchsize=3)
