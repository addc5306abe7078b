"""Two files from one command: vectors that are a data set, parameters that are a start."""

import numpy as np

from al_jax import vocabulary
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
    assert vocabulary.acquisition(f"embedded(core_set, '{output}.npz')").init is not None
    assert posterior.init is not None
