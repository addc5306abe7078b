"""A network that does not fit the data set is refused before anything is compiled."""

import pytest
from conftest import TRAINING
from flax import linen as nn

from al_jax.acquisitions import random
from al_jax.campaign import Settings, run
from al_jax.engine import lowering
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP, VariationalDense
from al_jax.posteriors import ensemble, mc_dropout, point, variational

SETTINGS = Settings(seeds=1, initial_labels=6, batch_size=4, max_labels=16)


def ensemble_of_two(*args):
    return ensemble(point(*args), 2)


@pytest.fixture
def _nothing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "compile_lowered", lambda *_: pytest.fail("it was compiled"))


@pytest.mark.parametrize("width", [1, 2, 4, 10])
@pytest.mark.parametrize("make", [point, mc_dropout, variational, ensemble_of_two])
@pytest.mark.usefixtures("_nothing_compiles")
def test_as_many_outputs_as_classes(dataset, make, width):
    dense = VariationalDense if make is variational else nn.Dense
    posterior = make(MLP(width, (4,), 0.5, dense=dense), categorical(), TRAINING)
    with pytest.raises(ValueError, match=f"the network has {width} outputs: expected 3, the classes of blobs"):
        run(posterior, random(), dataset, SETTINGS)


@pytest.mark.usefixtures("_nothing_compiles")
def test_classes_want_a_categorical_and_numbers_a_gaussian_likelihood(dataset):
    with pytest.raises(ValueError, match=r"predicts numbers: expected categorical\(\), as blobs has classes"):
        run(point(MLP(2, (4,), 0.0), gaussian(), TRAINING), random(), dataset, SETTINGS)
    regression = dataset._replace(num_classes=None)
    with pytest.raises(ValueError, match=r"predicts classes: expected gaussian\(\.\.\.\), as blobs has none"):
        run(point(MLP(3, (4,), 0.0), categorical(), TRAINING), random(), regression, SETTINGS)
    with pytest.raises(ValueError, match=r"likelihood=None: expected the posterior's own, such as gaussian\(\)"):
        run(point(MLP(2, (4,), 0.0), gaussian(), TRAINING), random(), regression, SETTINGS)
