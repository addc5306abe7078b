"""Two files from one command: vectors that are a data set, parameters that are a start."""

import jax
import numpy as np

from al_jax import vocabulary
from al_jax.pretraining import encoder
from al_jax.types import Pool
from experiments import pretrain


def test_the_two_files_are_what_the_docs_say(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "new" / "digits.of"
    command = ["--data", "subset(digits, 60)", "--output", str(output), "--steps", "2", "--minibatch-size", "4"]
    monkeypatch.setattr("sys.argv", ["pretrain", *command])
    pretrain.main()
    assert "60 rows of 128 numbers" in capsys.readouterr().out
    found = vocabulary.dataset(f"features('{output}.npz')")
    digits = vocabulary.dataset("subset(digits, 60)")
    np.testing.assert_array_equal(found.labels, digits.labels)
    np.testing.assert_array_equal(found.test_labels, digits.test_labels)
    posterior, _ = vocabulary.posterior(f"pretrained(point, '{output}.msgpack')", digits)
    params = posterior.init(jax.random.key(0), digits.inputs)
    made = encoder(digits, steps=2, minibatch_size=4)
    np.testing.assert_array_equal(params["Dense_0"]["kernel"], made.params["Dense_0"]["kernel"])
    memory, _ = vocabulary.acquisition(f"embedded(core_set, '{output}.npz')").init(
        jax.random.key(0), Pool(digits.inputs, np.ones(60, bool))
    )
    np.testing.assert_allclose(memory, made.embed(digits.inputs), rtol=1e-5, atol=1e-6)
