"""The posterior that a campaign ends with, in memory and from its folder."""

import shutil

import jax
import numpy as np
import pytest
from conftest import TRAINING, tiny

from al_jax import acquisitions as aq
from al_jax import campaign
from al_jax.campaign import Settings, run
from al_jax.campaign.store import StoreError, open_store
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import point
from experiments import runner
from experiments.experiment import Experiment

SETTINGS = Settings(seeds=3, first_seed=4, initial_labels=6, batch_size=4, max_labels=12, num_samples=4, seed_block=2)


@pytest.fixture(scope="module")
def kept(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    store = open_store(folder, {"a": 1})
    return run(tiny("mc_dropout"), aq.top_k(aq.bald), dataset, SETTINGS, results=store, keep_model=True), folder


def test_it_predicts_as_the_last_round_was_tested(kept, dataset):
    done, _ = kept
    for seed in (4, 6):
        predictions = done.model(seed).predict(dataset.test_inputs, num_samples=200)
        accuracy = np.mean(np.exp(predictions.log_probs).mean(1).argmax(1) == dataset.test_labels)
        last = done.rounds[done.rounds.seed == seed].iloc[-1]
        assert abs(accuracy - last.accuracy) <= 0.1, "other draws of the same posterior"
        assert predictions.features.shape[0] == len(dataset.test_labels)


def test_a_folder_gives_the_same_predictions_bit_for_bit(kept, dataset):
    done, folder = kept
    for seed in (4, 5, 6):
        before = done.model(seed).predict(dataset.test_inputs, 3)
        after = campaign.load(str(folder)).model(seed, tiny("mc_dropout")).predict(dataset.test_inputs, 3)
        jax.tree.map(np.testing.assert_array_equal, before, after)
    assert not np.array_equal(before.point, done.model(4).predict(dataset.test_inputs, 3).point)


def test_another_posterior_a_missing_seed_or_model_and_empty_rows_are_refused(kept, dataset, tmp_path):
    done, folder = kept
    loaded = campaign.load(folder)
    with pytest.raises(StoreError, match="is of another posterior"):
        loaded.model(4, point(MLP(3, (5,), 0.0), categorical(), TRAINING))
    with pytest.raises(StoreError, match=r"config\.json has no posterior: give model\(\) the posterior"):
        loaded.model(4)
    with pytest.raises(ValueError, match="seed=None: expected one of 4, 5, 6"):
        done.model()
    with pytest.raises(ValueError, match="seed=0: expected one of 4, 5, 6"):
        loaded.model(0)
    with pytest.raises(ValueError, match="rows=0: expected at least 1"):
        done.model(4).predict(dataset.test_inputs[:0])
    with pytest.raises(ValueError, match="seed=5 was stopped and has no model: diverged"):
        done._replace(stopped={5: "diverged"}).model(5)
    with pytest.raises(ValueError, match="neither a final state nor a folder"):
        done._replace(state=None).model(4)
    shutil.copytree(folder, tmp_path / "without")
    (tmp_path / "without" / "model.msgpack").unlink()
    with pytest.raises(StoreError, match=r"has no model\.msgpack: .* keep_model=True"):
        campaign.load(tmp_path / "without").model(4)


def test_a_run_of_the_command_line_gives_its_posterior_back_by_its_texts(tmp_path):
    (tmp_path / "mine.py").write_text("def mine(log_probs):\n    return -log_probs.max(-1).mean(-1)\n")
    settings = Settings(seeds=2, max_labels=30, num_samples=4)
    texts = {"data": "subset(digits, 60)", "network": "mlp(hidden=(6,))", "training": "adam, steps=5"}
    experiment = Experiment(**texts, acquisition="mine", imports=(str(tmp_path / "mine.py"),), settings=settings)
    folder = tmp_path / "results"
    options = runner.RunOptions(keep_model=True)
    done = runner.run_experiment(experiment, folder, options)
    images = runner.build(experiment).dataset.test_inputs
    found = campaign.load(folder).model(1).predict(images, 2)
    jax.tree.map(np.testing.assert_array_equal, found, done.model(1).predict(images, 2))
    assert campaign.load(folder).model(1).posterior is done.posterior, "equal texts, the same object"
    own = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(own + "\n")
    with pytest.raises(StoreError, match=r"mine\.py is not the file that the run imported"):
        campaign.load(folder).model(1)
    (tmp_path / "mine.py").write_text(own)
    (folder / "model.msgpack").unlink()
    with pytest.raises(StoreError, match="is finished and has no model"):
        runner.run_experiment(experiment, folder, options)
