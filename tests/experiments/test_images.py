"""Real images from the command line: networks by name, MNIST from its first command to its results."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from command_line import finish, only_run, start

from al_jax import vocabulary
from al_jax.campaign import Settings
from al_jax.data import Dataset
from al_jax.models import MLP, GalCNN, LeNet
from experiments import runner
from experiments.experiment import Experiment

PREPARED = Path(__file__).parents[3] / "shared" / "tfds"


def images(*shape: int) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.uint8)
    return Dataset("made up", x, np.arange(6, dtype=np.int32) % 3, x, np.arange(6, dtype=np.int32) % 3, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((28, 28, 1), GalCNN), ((32, 32, 3), LeNet), ((8, 8, 1), MLP), ((5,), MLP), ((28, 28), MLP)],
)
def test_auto_chooses_the_network_by_the_rows(shape, expected):
    made = vocabulary.expression("network", "auto").make(vocabulary.of_data(images(*shape)))
    assert type(made) is expected
    assert made.num_classes == 3


@pytest.mark.parametrize("network", ["gal_cnn", "batchbald_cnn", "emnist_cnn", "keras_cnn", "lenet", "resnet18"])
@pytest.mark.parametrize(
    "posterior", ["point", "mc_dropout", "variational", "ensemble(point, 5)", "ensemble(mc_dropout, 5)"]
)
def test_every_posterior_goes_with_every_network(network, posterior):
    dataset = images(32, 32, 3)
    training = "adam, augment=chain(random_crop, random_flip), dtype='bfloat16'"
    built, _ = vocabulary.posterior(posterior, dataset, network, training)

    state = jax.eval_shape(built.init, jax.random.key(0), dataset.inputs)
    draws = jax.eval_shape(lambda s: built.sample(jax.random.key(0), s, 10), state)
    predictions = jax.eval_shape(built.predict, state, draws, dataset.inputs)
    samples = {"point": 1, "ensemble(point, 5)": 5}.get(posterior, 10)
    assert predictions.log_probs.shape == (6, samples, 3)


def test_a_pool_on_the_host_from_its_configuration_to_its_tables(tmp_path):
    acquired = []
    for pool_on in ("device", "host"):
        settings = Settings(seeds=2, max_labels=30, num_samples=3, chunk_size=100, pool_on=pool_on)
        chosen = Experiment(network="mlp(hidden=(8,))", training="adam, steps=5", settings=settings)
        runner.run_experiment(chosen, tmp_path / pool_on, runner.RunOptions())
        acquired.append((tmp_path / pool_on / "acquired.csv").read_bytes())
    assert acquired[0] == acquired[1]


@pytest.mark.skipif(not PREPARED.is_dir(), reason="no ../shared/tfds: the real data sets are not here")
def test_mnist_with_gals_network(environment, tmp_path):
    budget = "--seeds 1 --max-labels 60 --batch-size 40 --pool-subset 100 --num-samples 10 --test-samples 2"
    process = start(
        environment | {"TFDS_DATA_DIR": str(PREPARED)},
        *("run", "--data", "mnist", "--training", "adam, steps=60", "--results-dir", str(tmp_path), *budget.split()),
    )
    code, _, err = finish(process)
    assert code == 0, err
    directory = only_run(tmp_path)
    assert (directory / "learning_curve.png").stat().st_size > 10_000
    rounds = pd.read_csv(directory / "rounds.csv")
    assert rounds.num_labelled.tolist() == [20, 60]
    assert rounds.accuracy.iloc[0] > 0.4, "20 labels, two of each digit"
    assert rounds.accuracy.iloc[1] > 0.6
