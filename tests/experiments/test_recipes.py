"""The papers' recipes as they are built, against the tables of the papers written out here: nobody edits them
unnoticed."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_images import PREPARED

from al_jax import campaign, vocabulary
from al_jax.campaign import Settings
from al_jax.data import load, original_rows, original_rows_of, tfds_rows
from al_jax.training import adam
from experiments.experiment import Experiment, changed, names, texts
from experiments.recipes import beluch2018, gal2017, kirsch2019
from experiments.recipes.beluch2018 import Beluch2018
from experiments.recipes.gal2017 import Gal2017
from experiments.recipes.kirsch2019 import Kirsch2019

NO_DATA = pytest.mark.skipif(not PREPARED.is_dir(), reason="no ../shared/tfds: the real data sets are not here")
PARAMS = {"Conv_0": {"kernel": jnp.ones(2)}, "Dense_0": {"kernel": jnp.ones(5), "bias": jnp.ones(3)}}
"""Of which a penalty takes what it penalises."""


def network_of(experiment: Experiment, num_classes: int = 10) -> Any:
    """The module, for made-up data of mean 7 and deviation 9."""
    bound = {"num_classes": lambda _: num_classes, "shape": lambda _: (28, 28, 1), "mean": lambda _: 7.0}
    return vocabulary.expression("network", experiment.network).make(bound | {"std": lambda _: 9.0})


def facts(experiment: Experiment) -> dict[str, Any]:
    """What is trained, on what and how, read off the objects that the texts make."""
    training = vocabulary.expression("training", experiment.training).make({})
    module, found = network_of(experiment), texts(experiment)
    assert training.optimizer is adam(1e-3)
    fields = ("minibatch_size", "steps", "epochs", "patience", "evaluate_every", "monitor", "augment", "dtype")
    decay = None if training.penalty is None else float(training.penalty(PARAMS, jnp.asarray(1)) / 5)
    if decay:  # divided by the number of labels, of the one kernel alone
        assert float(training.penalty(PARAMS, jnp.asarray(10))) == pytest.approx(decay * 5 / 10)
    return {
        **{name: getattr(training, name) for name in fields},
        "decay": decay,
        "network": type(module).__name__,
        **{name: getattr(module, name) for name in ("dropout", "mean", "std")},
        **{name: found[name] for name in ("data", "posterior", "acquisition")},
        **dataclasses.asdict(experiment.settings),
    }


def deviations(experiment: Experiment, expected: dict[str, Any]) -> dict[str, Any]:
    """What is neither as expected nor a setting's default."""
    default = dataclasses.asdict(Settings())
    return {name: value for name, value in facts(experiment).items() if value != expected.get(name, default.get(name))}


TRAINED = {"monitor": "nll", "minibatch_size": 32}
GAL = TRAINED | {
    "data": "subset(mnist, 40020)",
    "posterior": "mc_dropout",
    "network": "GalCNN",
    "dropout": 0.5,
    "mean": 0.0,
    "std": 255.0,
    "minibatch_size": 128,
    "epochs": 50,
    "decay": 2.5,
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
    "random": {"acquisition": "random", "decay": 3.5},
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


INITIAL = (
    *(38043, 40091, 17418, 2094, 39879, 3133, 5011, 40683, 54379, 24287),
    *(9849, 59305, 39508, 39356, 8758, 52579, 13655, 7636, 21562, 41329),
)


def mnist(validation: int, initial: bool = True) -> str:
    return f"with_validation({f'with_initial(mnist, {INITIAL})' if initial else 'mnist'}, {validation})"


KIRSCH = TRAINED | {
    "data": mnist(1024),
    "posterior": "mc_dropout",
    "network": "BatchBALDCNN",
    "dropout": 0.5,
    "mean": 0.1307 * 255,
    "std": 0.3081 * 255,
    "minibatch_size": 64,
    "steps": 30 * 79,
    "evaluate_every": 79,
    "patience": 3,
    "monitor": "accuracy",
    "initial_labels": 20,
    "balanced": True,
    "batch_size": 10,
    "max_labels": 300,
    "num_samples": 100,
}
NOISE = 0.1 * 0.3081 * 255


def repeated(copies: int, validated: str) -> str:
    return (
        f"repeated({validated}, noise={NOISE})"
        if copies == 3
        else f"repeated({validated}, copies={copies}, noise={NOISE})"
    )


REPEATED = {"data": repeated(3, mnist(3072)), "num_samples": 10, "steps": 40 * 79}
EMNIST = {"data": "subset(with_validation(tfds('emnist/balanced'), 16384), 94000)", "initial_labels": 0}
EMNIST |= {"balanced": False, "pool_subset": 47_000, "network": "EMNISTCNN"}
EMNIST |= {"steps": 40 * 316, "evaluate_every": 316, "num_samples": 10, "batch_size": 5}
BATCHBALD, BALD = {"acquisition": "batchbald(num_configurations=40000)"}, {"acquisition": "bald"}
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
    "power_bald_b10": {"acquisition": "stochastic_top_k(bald)"},
    "repeated_batchbald": {**BATCHBALD, **REPEATED},
    "repeated_bald": {**BALD, **REPEATED},
    "repeated_random": {"acquisition": "random", **REPEATED, "batch_size": 5},
    "repeated_mean_std": {"acquisition": "mean_std", **REPEATED},
    "repeated_variation_ratio": {"acquisition": "variation_ratio", **REPEATED},
    **{
        f"repeated{copies}_{name}": {**of, **REPEATED, "data": repeated(copies, mnist(3072))}
        for copies in (2, 5)
        for name, of in (("batchbald", BATCHBALD), ("bald", BALD), ("random", {"acquisition": "random"}))
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
        expected = (KIRSCH | of_arm)["data"].replace(mnist(1024), mnist(1024, False))
        expected = expected.replace(mnist(3072), mnist(3072, False))
        assert deviations(balanced, KIRSCH | of_arm | {"data": expected}) == {}, arm


FEWER = {"acquisition": "batchbald"}  # whose default is 10 000 configurations


@pytest.mark.parametrize(
    ("arm", "reductions"),
    [
        ("batchbald_b10", {"pool_subset": 10_000, "test_samples": 20, **FEWER}),
        ("batchbald_b10_k10", {"pool_subset": 10_000, "test_samples": 10, **FEWER}),
        ("batchbald_b10_k1000", {"pool_subset": 10_000, "test_samples": 20, **FEWER}),
        ("bald_b10", {"pool_subset": 10_000, "test_samples": 20}),
        ("repeated_batchbald", {"data": repeated(3, f"subset({mnist(3072)}, 10000)"), **FEWER}),
        ("repeated_random", {"data": repeated(3, f"subset({mnist(3072)}, 10000)"), "batch_size": 10}),
        ("repeated5_bald", {"data": repeated(5, f"subset({mnist(3072)}, 10000)")}),
        ("emnist_batchbald", {"pool_subset": 5_000, **FEWER}),
    ],
)
def test_kirschs_reductions_for_a_cpu(arm, reductions):
    assert deviations(kirsch2019.recipe(Kirsch2019(preset="cpu"), arm), KIRSCH | KIRSCH_ARMS[arm]) == reductions


BELUCH = GAL | {"evaluate": "samples"}
CIFAR = TRAINED | {
    "data": "cifar10",
    "network": "KerasCNN",
    "dropout": 0.5,
    "mean": 0.0,
    "std": 255.0,
    "epochs": 100,
    "initial_labels": 200,
    "balanced": True,
    "batch_size": 400,
    "max_labels": 9800,
    "evaluate": "samples",
}
ENSEMBLE = {"posterior": "ensemble(point)", "num_samples": 5}  # of 5
DROPOUT = {"posterior": "mc_dropout", "num_samples": 25}
BELUCH_PARTS: dict[str, dict[str, Any]] = {
    "ens": BELUCH | ENSEMBLE,
    "mc": BELUCH | DROPOUT,
    "debal": BELUCH | {"posterior": "ensemble(mc_dropout, members=3)", "num_samples": 3 * 100},
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
    ("experiment", "shapes"),
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
def test_the_networks_layers(experiment, shapes):
    module = network_of(experiment, 47 if "emnist" in experiment.data else 10)
    shape = (1, 32, 32, 3) if experiment.data == "cifar10" else (1, 28, 28, 1)
    params = jax.eval_shape(module.init, jax.random.key(0), np.zeros(shape, np.float32))["params"]
    assert {name: layer["kernel"].shape for name, layer in params.items()} == shapes


@NO_DATA
def test_the_papers_initial_rows_are_two_of_each_class_and_first_in_the_pool(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    mnist = load("mnist")
    places = tfds_rows(original_rows("mnist", "train", 60_000))[list(kirsch2019.INITIAL)]
    assert np.bincount(mnist.labels[places]).tolist() == [2] * 10
    dataset = vocabulary.dataset(kirsch2019.MNIST.data)
    assert len(dataset.labels) == 60_000 - 1024
    assert np.array_equal(dataset.inputs[:20], mnist.inputs[places])
    assert np.array_equal(dataset.labels[:20], mnist.labels[places])
    (rows,) = np.unique(campaign.start_rows(dataset, changed(kirsch2019.MNIST, seeds=3).settings), axis=0)
    assert rows.tolist() == list(range(20))
    # Every pool row is the image that `original_rows_of` says, and no validation row is in the pool.
    origin = original_rows_of(dataset)
    assert origin[:20].tolist() == list(kirsch2019.INITIAL)
    assert len(set(origin.tolist())) == len(origin)
    by_number = mnist.inputs[tfds_rows(original_rows("mnist", "train", 60_000))]
    assert np.array_equal(by_number[origin[::500]], dataset.inputs[::500])


@NO_DATA
def test_gals_pool(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    dataset = vocabulary.dataset(gal2017.RECIPE.data)
    assert dataset.inputs.shape == (40_020, 28, 28, 1)
    assert dataset.validation_labels is None
    assert len(np.unique(original_rows_of(dataset))) == 40_020


def test_repeated_rows_know_their_origin():
    dataset = vocabulary.dataset("repeated(subset(with_validation(digits, 50), 300), 3, noise=0)")
    origin = original_rows_of(dataset)
    assert len(dataset.labels) == 900
    assert np.array_equal(load("digits").inputs[origin], dataset.inputs)
    assert np.array_equal(*origin.reshape(3, 300)[:2])


def test_every_arm_has_a_posterior_and_an_acquisition():
    for arms in (gal2017.ARMS, kirsch2019.ARMS, beluch2018.ARMS):
        for experiment in arms.values():
            vocabulary.acquisition(experiment.acquisition, names(()))
            assert texts(experiment)["posterior"]


def test_an_unknown_field_is_a_mistake_in_the_code():
    with pytest.raises(TypeError, match="batchsize"):
        changed(Experiment(), batchsize=3)
