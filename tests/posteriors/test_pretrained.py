"""Networks that start from an encoder: every parameter that fits, in every round, and nothing else changes."""

import jax
import numpy as np
import pytest
from conftest import TRAINING, blobs

from al_jax import vocabulary
from al_jax.campaign.identity import described
from al_jax.data import Dataset
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import ensemble, mc_dropout, point, pretrained
from al_jax.pretraining import encoder
from al_jax.testing import check_posterior

KEY = jax.random.key(0)
X, Y = blobs(0, 40)
START = jax.tree.map(np.asarray, MLP(7, (5,), 0.0).init(jax.random.key(9), X)["params"])


def network(make=point, width=5):
    return make(MLP(3, (width,)), categorical(), TRAINING)


@pytest.mark.parametrize("make", [point, mc_dropout])
def test_it_obeys_the_laws(make):
    check_posterior(pretrained(network(make), START), X, Y)


def test_all_but_the_last_layer_start_there_for_every_key_and_member():
    posterior = pretrained(network(), START)
    one, other = (posterior.init(jax.random.key(seed), X) for seed in (0, 1))
    for params in (one, other):
        jax.tree.map(np.testing.assert_array_equal, params["Dense_0"], START["Dense_0"])
    assert not np.array_equal(one["Dense_1"]["kernel"], other["Dense_1"]["kernel"])
    members = ensemble(posterior, 3).init(KEY, X)
    np.testing.assert_array_equal(members["Dense_0"]["kernel"][2], START["Dense_0"]["kernel"])
    assert len(np.unique(members["Dense_1"]["kernel"][:, 0, 0])) == 3


def test_parameters_that_fit_nowhere_and_files_that_are_none_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"no parameter of the network \(Dense_0/kernel\[2, 6\].* of params \(Dense_0/bias\[5\]"
    ):
        pretrained(network(width=6), START | {"Dense_1": START["Dense_0"]}).init(KEY, X)
    with pytest.raises(ValueError, match=r"params=nowhere is not a file"):
        pretrained(network(), "nowhere")
    (tmp_path / "text").write_text("no parameters")
    with pytest.raises(ValueError, match=r"cannot be read"):
        pretrained(network(), str(tmp_path / "text"))


def test_the_file_of_an_encoder_is_an_expression(tmp_path, monkeypatch):
    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path))
    dataset = Dataset("blobs", X, Y, *blobs(1, 20), 3)
    made = encoder(dataset, steps=3, minibatch_size=8)
    made.save(tmp_path / "start.msgpack")
    text = f"ensemble(pretrained(point, '{tmp_path / 'start.msgpack'}'), 2)"
    posterior, _ = vocabulary.posterior(text, dataset, training="adam, steps=2")
    params = posterior.init(KEY, X)
    np.testing.assert_array_equal(params["Dense_0"]["kernel"][1], made.params["Dense_0"]["kernel"])


def test_another_start_is_another_campaign():
    other = jax.tree.map(lambda leaf: leaf + 1, START)
    texts = {described(pretrained(network(), start)) for start in (START, dict(START), other)}
    assert len(texts) == 2
