"""Numbers of a recipe as an axis of one program: every setting is the campaign it would be alone."""

import json

import jax
import numpy as np
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign, vocabulary
from al_jax.campaign import Settings, store
from al_jax.engine import lowering
from al_jax.likelihood import categorical
from al_jax.models import MLP, VariationalDense
from al_jax.posteriors import ensemble, laplace, mc_dropout, nuts, nuts_last_layer, point, svi, swag, variational
from al_jax.sweep import Repetition, settings_of
from al_jax.training import Training, adam, adamw, cosine, l2, sgd

SETTINGS = Settings(seeds=2, first_seed=3, initial_labels=6, batch_size=4, max_labels=14, num_samples=4, seed_block=2)
BALD = aq.top_k(aq.bald)


def network(dropout=0.5, **options):
    return MLP(3, (8,), dropout, **options)


def rates(learning_rate):
    """MC dropout by the learning rate."""
    return mc_dropout(network(), categorical(), Training(adam(learning_rate), steps=10))


RECIPES = {
    "learning_rate": (rates, (1e-3, 1e-1)),
    "weight_decay": (
        lambda weight_decay: point(network(), categorical(), Training(adamw(1e-2, weight_decay), steps=10)),
        (0.0, 3.0),
    ),
    "momentum": (
        lambda momentum: ensemble(point(network(), categorical(), Training(sgd(0.1, momentum), steps=10)), 2),
        (0.0, 0.9),
    ),
    "peak": (lambda peak: point(network(), categorical(), Training(sgd(cosine(peak)), steps=10)), (0.01, 0.3)),
    "coefficient": (
        lambda coefficient: point(network(), categorical(), Training(adam(1e-2), steps=10, penalty=l2(coefficient))),
        (0.0, 1.0),
    ),
    "prior_std": (
        lambda prior_std: variational(
            network(0.0, dense=VariationalDense), categorical(), Training(adam(1e-2), steps=10), prior_std=prior_std
        ),
        (0.1, 3.0),
    ),
    "temperature": (
        lambda temperature: variational(
            network(0.0, dense=VariationalDense), categorical(), Training(adam(1e-2), steps=10), temperature=temperature
        ),
        (0.01, 10.0),
    ),
    "prior_precision": (
        lambda prior_precision: laplace(
            network(), categorical(), Training(adam(1e-2), steps=10), prior_precision=prior_precision
        ),
        (0.1, 30.0),
    ),
    "walk": (
        lambda walk: swag(
            network(),
            categorical(),
            Training(adam(1e-2), steps=10),
            learning_rate=walk,
            snapshots=4,
            steps=2,
            rank=2,
        ),
        (1e-3, 0.3),
    ),
    "width": (
        lambda width: nuts_last_layer(
            network(), categorical(), Training(adam(1e-2), steps=10), prior_std=width, chains=1, warmup=10, draws=4
        ),
        (0.1, 2.0),
    ),
    "prior": (
        lambda prior: nuts(network(0.0), categorical(), prior=prior, chains=1, warmup=10, draws=4, max_tree_depth=3),
        (0.1, 2.0),
    ),
    "of_layer": (
        lambda of_layer: svi(
            network(), categorical(), Training(adam(1e-2), steps=10), prior={"Dense_1": of_layer}, temperature=1.0
        ),
        (0.05, 2.0),
    ),
}
"""By swept number, a recipe and two values."""


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_is_the_campaign_it_would_be_alone(dataset, name):
    recipe, values = RECIPES[name]
    swept = campaign.run(recipe, BALD, dataset, SETTINGS, sweep={name: values})
    metrics = []
    for value in values:
        alone = campaign.run(recipe(**{name: value}), BALD, dataset, SETTINGS, method="campaign")
        found = swept.at(**{name: value})
        assert found.rounds["seed"].tolist() == alone.rounds["seed"].tolist() == [3, 3, 3, 4, 4, 4]
        first = found.rounds["round"] == 0  # rounding may part campaigns later
        np.testing.assert_allclose(found.rounds["nll"][first], alone.rounds["nll"][first], rtol=2e-3)
        start = alone.acquired["round"] == -1
        assert found.acquired["row"][start].tolist() == alone.acquired["row"][start].tolist()
        metrics.append(found.rounds["nll"][first].to_numpy())
    assert not np.allclose(metrics[0], metrics[1], rtol=1e-2), "the number does something"


def test_a_learning_rate_acquires_the_rows_it_acquires_alone_with_the_pool_on_the_host_too(dataset):
    alone = [campaign.run(rates(rate), BALD, dataset, SETTINGS) for rate in (1e-3, 1e-1)]
    for pool_on in ("device", "host"):
        settings = Settings(**{**vars(SETTINGS), "pool_on": pool_on})
        swept = campaign.run(rates, BALD, dataset, settings, sweep={"learning_rate": [1e-3, 1e-1]})
        rows = [swept.at(learning_rate=rate).acquired["row"].tolist() for rate in (1e-3, 1e-1)]
        assert rows == [done.acquired["row"].tolist() for done in alone]
        assert rows[0] != rows[1]


def test_a_swept_dropout_rate_of_zero_keeps_every_unit(dataset):
    def rate(dropout):
        return point(network(dropout), categorical(), Training(adam(1e-2), steps=10))

    done = campaign.run(rate, BALD, dataset, SETTINGS, sweep={"dropout": [0.0, 0.9]})
    none, most = (done.at(dropout=value).rounds for value in (0.0, 0.9))
    alone = campaign.run(rate(0.0), BALD, dataset, SETTINGS).rounds
    first = alone["round"] == 0
    np.testing.assert_allclose(none["nll"][first], alone["nll"][first], rtol=1e-3)
    assert not np.allclose(none["nll"][first], most["nll"][first], rtol=1e-2)


def test_settings_are_rows_of_one_program_and_the_tables_say_which(dataset):
    before = set(lowering._programs)
    done = campaign.run(rates, BALD, dataset, SETTINGS, method="mine", sweep={"learning_rate": [1e-3, 1e-2, 1e-1]})
    assert len(set(lowering._programs) - before) <= 5, "start, remember, learn, choose, absorb"
    assert done.rounds["method"].unique().tolist() == [f"mine, learning_rate={r}" for r in ("0.001", "0.01", "0.1")]
    assert done.acquired["learning_rate"].unique().tolist() == [1e-3, 1e-2, 1e-1]
    start = done.acquired[done.acquired["round"] == -1].groupby(["learning_rate", "seed"])["row"].apply(tuple)
    assert start.loc[1e-3].to_dict() == start.loc[1e-1].to_dict(), "paired by seed"
    assert set(done.at(learning_rate=1e-2).rounds["method"]) == {"mine"}
    for wrong in ({}, {"learning_rate": 0.5}, {"dropout": 1e-3}):
        with pytest.raises(ValueError, match=r"expected one of learning_rate=0\.001; learning_rate=0\.01"):
            done.at(**wrong)
    for refused in (done.model, lambda: campaign.labelled(done)):
        with pytest.raises(ValueError, match=r"3 settings: expected one, such as \.at\(learning_rate=0\.001\)"):
            refused()


def test_a_setting_that_diverges_is_stopped_alone(dataset, tmp_path):
    results = store.open_store(tmp_path, {"a": 1})
    with pytest.warns(RuntimeWarning, match=r"2 of 4 seeds were stopped\. Seed 3 with learning_rate=1e\+30"):
        done = campaign.run(rates, BALD, dataset, SETTINGS, results=results, sweep={"learning_rate": [1e-3, 1e30]})
    read = campaign.load(tmp_path)
    for found in (done, read):
        assert list(found.stopped) == ["3 with learning_rate=1e+30", "4 with learning_rate=1e+30"]
        assert found.at(learning_rate=1e-3).stopped == {}
        assert list(found.at(learning_rate=1e30).stopped) == [3, 4]
        assert found.at(learning_rate=1e-3).rounds["num_labelled"].max() == 14
    with pytest.raises(ValueError, match="seed=3 was stopped"):
        done.at(learning_rate=1e30).model(3)
    with pytest.raises(campaign.Diverged, match="every seed was stopped"):
        campaign.run(rates, BALD, dataset, SETTINGS, sweep={"learning_rate": [1e30, 1e29]})


def test_it_resumes_bit_for_bit_keeps_its_models_and_is_another_campaign_than_another_sweep(dataset, tmp_path):
    sweep = {"learning_rate": [1e-3, 1e-1]}
    whole = campaign.run(rates, BALD, dataset, SETTINGS, sweep=sweep)
    first = store.open_store(tmp_path, {"a": 1})
    asked = iter([False, True])
    part = campaign.run(rates, BALD, dataset, SETTINGS, sweep=sweep, results=first, stop=lambda: next(asked))
    assert not part.finished
    other = store.open_store(tmp_path, {"a": 1}, resume=True)
    with pytest.raises(store.StoreError, match="sweep"):
        campaign.run(rates, BALD, dataset, SETTINGS, sweep={"learning_rate": [1e-3, 1e-2]}, results=other)
    again = store.open_store(tmp_path, {"a": 1}, resume=True)
    done = campaign.run(rates, BALD, dataset, SETTINGS, sweep=sweep, results=again, keep_model=True)
    assert done.acquired.equals(whole.acquired)
    assert done.rounds.drop(columns="seconds").equals(whole.rounds.drop(columns="seconds"))
    read = campaign.load(tmp_path)
    for rate in (1e-3, 1e-1):
        expected = done.at(learning_rate=rate).model(4).predict(dataset.test_inputs, 3)
        found = read.at(learning_rate=rate).model(4, rates).predict(dataset.test_inputs, 3)
        jax.tree.map(np.testing.assert_array_equal, expected, found)
        assert len(campaign.labelled(read.at(learning_rate=rate), 4)) == 14


def test_all_combinations_are_run_the_last_name_fastest():
    def recipe(a, b):
        return tiny("point")

    settings = settings_of(recipe, {"a": [1, 2], "b": np.array([0.5, 0.25])})
    assert settings == ({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 0.25}, {"a": 2.0, "b": 0.5}, {"a": 2.0, "b": 0.25})
    assert settings_of(tiny("point"), None) == settings_of(tiny("point"), {}) == ({},)
    assert Repetition(3, settings[0]).name == "3 with a=1, b=0.5"


@pytest.mark.parametrize(
    ("recipe", "sweep", "words"),
    [
        (rates, None, "expected a Posterior, for nothing is swept"),
        (tiny("point"), {"learning_rate": [1.0]}, "expected a function of learning_rate that makes the posterior"),
        (rates, {"learning_rate": []}, r"learning_rate=\[\]: expected distinct finite numbers"),
        (rates, {"learning_rate": [1.0, 1.0]}, "expected distinct finite numbers"),
        (rates, {"learning_rate": [1.0, float("nan")]}, "expected distinct finite numbers"),
        (rates, {"learning_rate": ["a"]}, "expected distinct finite numbers"),
        (rates, {"learning_rate": 1e-3}, "expected distinct finite numbers"),
        (rates, {"learning_rate": [1.0, 1.00000001]}, "differ in their first six digits"),
        (rates, {"rate": [1.0]}, "the posterior of rate=1: .*unexpected keyword argument 'rate'"),
        (
            rates,
            {"learning_rate": [1.0, -1.0]},
            "the posterior of learning_rate=-1: learning_rate=-1.0: expected a pos",
        ),
        (lambda a: None, {"a": [1.0]}, "the posterior of a=1 is a NoneType: expected a Posterior"),
        (
            lambda dropout: mc_dropout(network(dropout), categorical(), Training(adam(), steps=1)),
            {"dropout": [0.5, 0.0]},
            "has no dropout layer",
        ),
        (
            lambda a: point(MLP(3, (int(a),)), categorical(), Training(adam())),
            {"a": [4.0]},
            "a=4: steps=None, epochs=None",
        ),
        (lambda a: point(MLP(3, (int(a),)), categorical(), Training(adam(), steps=1)), {"a": [4.0]}, "is a size"),
    ],
)
def test_wrong_sweeps_are_named_before_anything_is_compiled(dataset, recipe, sweep, words):
    began = len(lowering._programs)
    with pytest.raises(ValueError, match=words):
        campaign.run(recipe, BALD, dataset, SETTINGS, sweep=sweep)
    assert len(lowering._programs) == began


def test_texts_leave_numbers_open(dataset):
    recipe, _ = vocabulary.recipe(
        "variational", dataset, "mlp(hidden=(4,))", "adam, steps=2", swept=["learning_rate", "prior_std"]
    )
    done = campaign.run(recipe, BALD, dataset, SETTINGS, sweep={"learning_rate": [1e-3], "prior_std": [0.1, 1.0]})
    assert len(done.sweep) == 2
    for training, name in (("adam(1e-3), steps=2", "learning_rate"), ("adam, steps=2", "coldness")):
        closed, _ = vocabulary.recipe("point", dataset, "mlp(hidden=(4,))", training, swept=[name])
        with pytest.raises(ValueError, match=f"sweep has {name}: expected a number that posterior='point'"):
            closed(**{name: 1.0})


def test_the_sweep_is_in_the_summary(dataset, tmp_path):
    results = store.open_store(tmp_path, {"a": 1})
    campaign.run(rates, BALD, dataset, SETTINGS, results=results, sweep={"learning_rate": [1e-3]})
    assert json.loads((tmp_path / "summary.json").read_text())["sweep"] == [{"learning_rate": 0.001}]
