"""Every public name is in an expression's reach, has a row in the tables, and says what it is."""

import inspect
import textwrap

import jax
import numpy as np
import pytest
from tables import ACQUISITIONS, DATA, FROM_FILES, NETWORKS, POSTERIORS, PREPARED, REGRESSION, SCORES

from al_jax import acquisitions as aq
from al_jax import data, vocabulary
from al_jax.acquisitions.needs import needs
from al_jax.expressions import ExpressionError
from al_jax.models.forward import init_params

LAYERS = {"dense", "variational_dense"}


def test_every_acquisition_has_a_row():
    rows = SCORES.keys() | REGRESSION | {name.split()[0] for name in ACQUISITIONS}
    assert vocabulary.names("acquisition").keys() - FROM_FILES == rows


def test_every_posterior_network_and_data_set_has_a_row():
    assert vocabulary.names("posterior").keys() - FROM_FILES == POSTERIORS.keys() - {"debal"}
    assert vocabulary.names("network").keys() == NETWORKS.keys() | LAYERS
    assert vocabulary.names("data").keys() == DATA.keys() | PREPARED


@pytest.mark.parametrize("kind", vocabulary.SOURCES)
def test_every_name_says_in_one_line_what_it_is(kind):
    for name, thing in vocabulary.names(kind).items():
        assert inspect.getdoc(thing), name


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_what_an_acquisition_needs_is_found_by_tracing_it(name):
    assert needs(vocabulary.acquisition(ACQUISITIONS[name].text)) == ACQUISITIONS[name].needs


def test_a_method_whose_arguments_are_missing_needs_what_they_need():
    assert needs(aq.prefilter) == needs(aq.top_k) == ("arguments",)
    assert needs(aq.bald) == needs(aq.variance) == ("draws",)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_made_for_its_rows(name):
    text, shape = NETWORKS[name]
    rows = np.zeros((20, *shape), np.float32)
    dataset = data.Dataset("rows", rows, np.arange(20) % 3, rows, np.arange(20) % 3, 3)
    module = vocabulary.expression("network", text).make(vocabulary.of_data(dataset))
    kernel = jax.tree.leaves(jax.eval_shape(lambda: init_params(module, jax.random.key(0), rows)))
    assert any(leaf.shape[-1] == 3 for leaf in kernel)


@pytest.mark.parametrize("name", DATA)
def test_every_data_set_is_made(name):
    assert len(vocabulary.dataset(DATA[name]).labels) >= 50


def test_a_posterior_asks_for_the_network_that_it_needs():
    """Dropout is on under MC dropout alone; mean field has Gaussian weights, of the last layer only where asked."""
    digits = data.load("digits")

    def parameters(posterior, network="mlp(hidden=(4,))"):
        made, _ = vocabulary.posterior(posterior, digits, network)
        return jax.eval_shape(made.init, jax.random.key(0), digits.inputs[:1])

    def gaussians(params):
        return sum("rho" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))

    assert gaussians(parameters("mc_dropout")) == 0
    assert gaussians(parameters("variational")) == 4
    assert gaussians(parameters("variational", "mlp(hidden=(4,), dense=dense)")) == 2
    with pytest.raises(ValueError, match="no dropout layer"):
        parameters("mc_dropout", "mlp(hidden=(4,), dropout=0)")


def test_a_regression_gets_its_own_likelihood_and_width():
    diabetes = data.load("diabetes")
    for text, width in (("auto", 1), ("auto(noise=None)", 2), ("gaussian(50.0)", 1)):
        posterior, likelihood = vocabulary.posterior("point", diabetes, "mlp(hidden=(4,))", likelihood=text)
        params = jax.eval_shape(posterior.init, jax.random.key(0), diabetes.inputs[:1])
        assert likelihood.outputs == params["Dense_1"]["bias"].shape[0] == width


MINE = """
    from al_jax.acquisitions import top_k
    from al_jax.types import Acquisition

    def mine(log_probs):
        return log_probs.std((-1, -2))

    def method(score: int = 3) -> Acquisition:
        return top_k(mine)

    def _hidden(log_probs):
        return log_probs
"""


def test_names_of_a_users_file_join_the_others(tmp_path):
    file = tmp_path / "my_methods.py"
    file.write_text(textwrap.dedent(MINE))
    more = vocabulary.imported(file)
    assert vocabulary.expression("acquisition", "prefilter(mine, 5, method(4))", more).text == (
        "prefilter(mine, 5, method(score=4))"
    )
    assert "mine" not in vocabulary.names("posterior", more)
    with pytest.raises(ExpressionError, match="'_hidden' is unknown"):
        vocabulary.acquisition("_hidden", more)
    with pytest.raises(ExpressionError, match="'mine' is unknown"):
        vocabulary.acquisition("mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def bald(log_probs): ...", "bald is a name of al_jax already"),
        ("1 / 0", "ZeroDivisionError"),
        (None, "import"),
    ],
)
def test_a_file_that_cannot_join_is_named(tmp_path, text, message):
    file = tmp_path / "broken_methods.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        vocabulary.imported(file)
    assert "broken_methods.py" in str(caught.value)
