"""Objectives: what they add is their paper's formula, weight 0 adds nothing, and no hidden label has a part in it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import blobs

from al_jax import acquisitions as aq
from al_jax import campaign, vocabulary
from al_jax.campaign import Settings
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP, VariationalDense
from al_jax.posteriors import ensemble, mc_dropout, point, svi, swag, variational
from al_jax.training import (
    Apply,
    Minibatch,
    Objective,
    Training,
    adam,
    consistency,
    entropy_minimisation,
    fixmatch,
    mixup,
    pseudo_labels,
    training,
)
from al_jax.training.loop import drawn_from
from al_jax.types import Data, Labelled, Pool

KEY = jax.random.key(0)
X, Y = blobs(0, 12)
POOL, HIDDEN = blobs(1, 40)
LINEAR = Apply(lambda params, key, x: x @ params, categorical())
"""A network without noise: what a key draws does not matter."""
PARAMS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), jnp.float32)
BATCH = Minibatch(X[:4], Y[:4], jnp.array([1.0, 2.0, 1.0, 1.0]), jnp.array([True, True, True, False]))
REST = Minibatch(POOL[:8], None, jnp.ones(8), jnp.ones(8, bool))
SETTINGS = Settings(seeds=2, initial_labels=6, batch_size=4, max_labels=10, num_samples=3, seed_block=2)


def same(key, rows):
    return rows


def log_softmax(x: np.ndarray) -> np.ndarray:
    logits = np.asarray(x, np.float64) @ np.asarray(PARAMS, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


SUPERVISED = -(np.array([1, 2, 1]) * log_softmax(X[:3])[np.arange(3), Y[:3]]).sum() / 3
"""Of the three valid rows, by their weights."""


def value(objective: Objective, unlabelled: Minibatch | None = REST, progress: float = 0.0, data: Data | None = None):
    data = data or Data(Labelled(X, Y, jnp.ones(12), jnp.arange(12), jnp.asarray(12)))
    memory = objective.init(PARAMS, data)
    loss, report = objective.loss(KEY, LINEAR, PARAMS, BATCH, unlabelled, jnp.asarray(progress), memory)
    return float(loss), {name: float(number) for name, number in report.items()}


def test_entropy_minimisation_adds_the_mean_entropy():
    log_p = log_softmax(POOL[:8])
    expected = -(np.exp(log_p) * log_p).sum(-1).mean()
    found, report = value(entropy_minimisation(0.3))
    assert found == pytest.approx(SUPERVISED + 0.3 * expected, rel=1e-5)
    assert report["unlabelled_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("round", [0, 7])
def test_pseudo_labels_are_the_classes_of_rows_below_the_threshold_of_the_round(round):
    log_p = log_softmax(POOL[:8])
    entropies = -(np.exp(log_p) * log_p).sum(-1)
    threshold, decay = float(np.sort(entropies)[5] + 1e-3), 0.02
    below = entropies < threshold - decay * round
    assert 0 < below.sum() < 8
    data = Data(Labelled(X, Y, jnp.ones(12), jnp.arange(12), jnp.asarray(12)), round=jnp.asarray(round))
    found, report = value(pseudo_labels(threshold, decay, 2.0), data=data)
    expected = np.where(below, -log_p.max(-1), 0).sum() / 8
    assert found == pytest.approx(SUPERVISED + 2 * expected, rel=1e-5)
    assert report["confident"] == pytest.approx(below.mean())


def test_fixmatch_asks_of_the_strong_change_what_the_weak_one_says_where_it_is_sure():
    weak, strong = (lambda key, rows: rows + 0.5), (lambda key, rows: 0.7 * rows)
    probabilities = np.exp(log_softmax(POOL[:8] + 0.5))
    sure = probabilities.max(-1) >= 0.6
    assert 0 < sure.sum() < 8
    losses = -log_softmax(0.7 * POOL[:8])[np.arange(8), probabilities.argmax(-1)]
    expected = np.where(sure, losses, 0).sum() / 8  # all rows are in the mean, eq. 4
    labelled = -(np.array([1, 2, 1]) * log_softmax(X[:3] + 0.5)[np.arange(3), Y[:3]]).sum() / 3
    found, report = value(fixmatch(0.6, 1.5, 2, weak, strong))
    assert found == pytest.approx(labelled + 1.5 * expected, rel=1e-5)
    assert report["confident"] == pytest.approx(sure.mean())


@pytest.mark.parametrize(("progress", "share"), [(0.0, np.exp(-5)), (0.2, np.exp(-1.25)), (0.4, 1.0), (0.9, 1.0)])
def test_the_pi_model_ramps_the_squared_difference_of_two_passes_up(progress, share):
    def change(key, rows):
        return rows + jax.random.normal(key, rows.shape)

    found, report = value(consistency("pi", 3.0, 2, change=change), progress=progress)
    rows = jnp.concatenate([X[:4], POOL[:8]])
    keys = [jax.random.fold_in(KEY, i) for i in (2, 4)]
    one, other = (np.exp(log_softmax(change(key, rows))) for key in keys)
    squares = ((one - other) ** 2).mean(-1)
    valid = np.r_[True, True, True, False, np.ones(8, bool)]
    assert report["difference"] == pytest.approx(squares[valid].mean(), rel=1e-4)
    assert found == pytest.approx(SUPERVISED + 3 * share * squares[valid].mean(), rel=1e-4)


def test_no_gradient_flows_through_the_second_pass():
    objective = consistency("pi", 3.0, 2, change=same)
    gradient = jax.grad(lambda p: objective.loss(KEY, LINEAR, p, BATCH, REST, jnp.asarray(1.0), None)[0])(PARAMS)
    plain = jax.grad(lambda p: mixup(0.0).loss(KEY, LINEAR, p, BATCH, None, jnp.asarray(1.0), None)[0])(PARAMS)
    np.testing.assert_allclose(gradient, plain, rtol=1e-5)
    taught = consistency("mean_teacher", 3.0, 2, change=same)
    teacher = PARAMS + 1.0, jnp.zeros(()), jnp.asarray(True)
    of_memory = jax.grad(
        lambda m: taught.loss(KEY, LINEAR, PARAMS, BATCH, REST, jnp.asarray(1.0), (m, *teacher[1:]))[0]
    )
    assert not of_memory(teacher[0]).any()


def test_the_teacher_is_the_exponential_average_of_the_parameters_and_the_plain_one_at_first():
    objective = consistency("mean_teacher", average=0.75)
    data = Data(Labelled(X, Y, jnp.ones(12), jnp.arange(12), jnp.asarray(12)), pool=Pool(POOL, jnp.ones(40, bool)))
    memory, mean = objective.init(jnp.asarray(9.0), data), None
    for step, params in enumerate([1.0, 3.0, 5.0, -2.0, 4.0, 0.0]):
        memory = objective.update(memory, jnp.asarray(params), jnp.asarray(0.0))
        share = min(0.75, step / (step + 1))
        mean = params if mean is None else share * mean + (1 - share) * params
        assert float(objective.finish(jnp.asarray(params), memory)) == pytest.approx(mean)


def test_mixup_trains_between_two_rows_and_never_mixes_padding_in():
    full = BATCH._replace(valid=jnp.ones(4, bool), weights=jnp.ones(4))
    losses = []
    for seed in range(200):
        apply = Apply(lambda params, key, x: jnp.concatenate([x, jnp.zeros((4, 1))], 1), categorical())
        batch = full._replace(inputs=jnp.eye(4)[:, :2] + 0.0, labels=jnp.array([0, 1, 2, 2]))
        found, _ = mixup(1.0).loss(jax.random.key(seed), apply, None, batch, None, None, None)
        losses.append(float(found))
        padded = batch._replace(inputs=batch.inputs.at[3].set(jnp.nan), valid=BATCH.valid)
        kept, _ = mixup(1.0).loss(jax.random.key(seed), apply, None, padded, None, None, None)
        assert np.isfinite(float(kept))
    expected = []
    generator = np.random.default_rng(0)
    inputs, labels = np.concatenate([np.eye(4)[:, :2], np.zeros((4, 1))], 1), np.array([0, 1, 2, 2])
    for _ in range(4000):
        order, share = generator.permutation(4), generator.uniform()
        mixed = share * inputs + (1 - share) * inputs[order]
        log_p = mixed - np.log(np.exp(mixed).sum(-1, keepdims=True))
        rows = np.arange(4)
        expected.append(-(share * log_p[rows, labels] + (1 - share) * log_p[rows, labels[order]]).mean())
    assert np.mean(losses) == pytest.approx(np.mean(expected), abs=4 * np.std(losses) / 200**0.5)
    with pytest.raises(ValueError, match="mixup averages rows, which have int32"):
        mixup().loss(KEY, LINEAR, PARAMS, BATCH._replace(inputs=jnp.zeros((4, 2), jnp.int32)), None, None, None)


def test_unlabelled_rows_are_available_ones_all_equally_often():
    available = jnp.zeros(40, bool).at[jnp.array([3, 7, 39])].set(True)
    draw = drawn_from(Pool(jnp.arange(40.0)[:, None], available), 3000)
    rows, counts = np.unique(np.asarray(draw(KEY).inputs), return_counts=True)
    assert rows.tolist() == [3.0, 7.0, 39.0]
    assert abs(counts - 1000).max() < 120
    assert not drawn_from(Pool(POOL, jnp.zeros(40, bool)), 5)(KEY).valid.any()
    assert drawn_from(None, 0)(KEY) is None
    with pytest.raises(ValueError, match=r"needs unlabelled rows, and data\.pool is None"):
        drawn_from(None, 5)


# laws of all of them

OBJECTIVES = {
    "fixmatch": lambda weight=1.0: fixmatch(0.5, weight, 2),
    "pi": lambda weight=1.0: consistency("pi", weight, ramp=0.0),
    "mean_teacher": lambda weight=1.0: consistency("mean_teacher", weight),
    "pseudo_labels": lambda weight=1.0: pseudo_labels(1.0, 0.0, weight),
    "entropy_minimisation": entropy_minimisation,
}


WHOLE = Pool(POOL, jnp.ones(40, bool))


def fitted(objective: Objective | None, pool: Pool = WHOLE, **options):
    network = mc_dropout(MLP(3, (8,)), categorical(), Training(adam(1e-2), steps=20, objective=objective, **options))
    labelled = Labelled(X, Y, jnp.ones(12), jnp.arange(12), jnp.asarray(9))
    return jax.jit(lambda: network.fit(KEY, network.init(KEY, X), Data(labelled, pool=pool)))()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weight_zero_and_an_empty_pool_train_bit_for_bit_as_without(name):
    plain, _ = fitted(None)
    empty = Pool(POOL, jnp.zeros(40, bool))
    weighed, _ = fitted(OBJECTIVES[name](0.0))
    of_nothing, _ = fitted(OBJECTIVES[name](), empty)
    trained, info = fitted(OBJECTIVES[name]())
    if name == "fixmatch":  # its labelled rows are changed, too
        plain, _ = fitted(fixmatch(weight=0.0), empty)
        unchanged, _ = fitted(fixmatch(weight=0.0, weak=same))
        jax.tree.map(np.testing.assert_array_equal, unchanged, fitted(None)[0])
    jax.tree.map(np.testing.assert_array_equal, weighed, plain)
    jax.tree.map(np.testing.assert_array_equal, of_nothing, plain)
    assert info["finite"]
    assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(plain), strict=True))


def test_mixup_of_nothing_trains_bit_for_bit_as_without():
    jax.tree.map(np.testing.assert_array_equal, fitted(mixup(0.0))[0], fitted(None)[0])


POSTERIORS = {
    "point": lambda t: point(MLP(3, (8,)), categorical(), t),
    "debal": lambda t: ensemble(mc_dropout(MLP(3, (8,)), categorical(), t), 2),
    "variational": lambda t: variational(MLP(3, (8,), 0.0, dense=VariationalDense), categorical(), t),
    "svi": lambda t: svi(MLP(3, (8,)), categorical(), t),
    "swag": lambda t: swag(MLP(3, (8,)), categorical(), t, snapshots=3, steps=2, rank=2),
}


@pytest.mark.parametrize("name", POSTERIORS)
def test_an_objective_trains_every_posterior_and_sees_no_hidden_label(dataset, name):
    posterior = POSTERIORS[name](Training(adam(1e-2), steps=10, objective=fixmatch(0.5, ratio=2)))
    generator = np.random.default_rng(0)
    rows = campaign.start_rows(dataset, SETTINGS)
    # Labels that nobody was asked for are permuted among themselves.
    hidden = np.setdiff1d(np.arange(48), rows.ravel())
    labels = dataset.labels.copy()
    labels[hidden] = generator.permutation(labels[hidden])
    settings = dataclasses.replace(SETTINGS, max_labels=6)
    one, other = (
        campaign.run(posterior, aq.random(), dataset._replace(labels=found), settings, initial=rows)
        for found in (dataset.labels, labels)
    )
    jax.tree.map(np.testing.assert_array_equal, one.state.posterior, other.state.posterior)
    assert one.rounds["fit_confident"].between(0, 1).all()


def test_a_pool_on_the_host_is_refused_before_any_work(dataset):
    posterior = point(MLP(3, (8,)), categorical(), Training(adam(1e-2), steps=10, objective=fixmatch()))
    settings = dataclasses.replace(SETTINGS, pool_on="host")
    with pytest.raises(ValueError, match=r"posterior\.fit .* reads the whole pool"):
        campaign.run(posterior, aq.random(), dataset, settings)


def test_a_regression_is_refused_by_objectives_of_classes():
    for name in OBJECTIVES:
        objective = OBJECTIVES[name]()
        network = point(MLP(1, (8,)), gaussian(1.0), Training(adam(1e-2), steps=2, objective=objective))
        labelled = Labelled(X, X[:, 0], jnp.ones(12), jnp.arange(12), jnp.asarray(9))
        data = Data(labelled, pool=Pool(POOL, jnp.ones(40, bool)))
        with pytest.raises(ValueError, match=r"objective=\w+ is of classes: expected categorical\(\)"):
            network.fit(KEY, network.init(KEY, X), data)


def test_early_stopping_looks_at_the_teacher():
    validation = Labelled(*map(jnp.asarray, blobs(2, 12)), jnp.ones(12), jnp.arange(12), jnp.asarray(12))
    network = point(
        MLP(3, (8,), 0.0),
        categorical(),
        Training(
            adam(0.3), steps=20, patience=20, evaluate_every=1, objective=consistency("mean_teacher", average=0.9)
        ),
    )
    labelled = Labelled(X, Y, jnp.ones(12), jnp.arange(12), jnp.asarray(9))
    data = Data(labelled, validation, Pool(POOL, jnp.ones(40, bool)))
    params, info = jax.jit(lambda: network.fit(KEY, network.init(KEY, X), data))()
    assert info["steps"] == 20
    nll = categorical().metrics(network.predict(params, None, validation.inputs), validation.labels)["nll"]
    assert nll < 0.5


def test_as_expressions():
    made = vocabulary.expression("training", "fixmatch(threshold=0.9), adam(1e-3), steps=2000").make({})
    assert made.objective is fixmatch(0.9)
    assert made.steps == 2000
    with pytest.raises(ValueError, match="2 objectives: expected at most one"):
        training(mixup(), fixmatch())
    with pytest.raises(ValueError, match="expected an Objective, such as fixmatch"):
        Training(adam(), steps=1, objective=lambda *_: 0.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fixmatch(threshold=1.5), "fixmatch: threshold=1.5: expected 0 to 1"),
        (lambda: fixmatch(weight=-1.0), "fixmatch: weight=-1.0: expected 0 to inf"),
        (lambda: fixmatch(ratio=0), "fixmatch: ratio=0: expected 1 to inf"),
        (lambda: consistency("teacher"), "kind='teacher': expected 'pi' or 'mean_teacher'"),
        (lambda: consistency(ramp=1.5), "ramp=1.5: expected a share"),
        (lambda: consistency(average=-0.5), "average=-0.5: expected a share"),
        (lambda: pseudo_labels(-0.1), "pseudo_labels: entropy=-0.1"),
        (lambda: entropy_minimisation(ratio=0), "entropy_minimisation: ratio=0"),
        (lambda: mixup(-1.0), "alpha=-1.0: expected a finite number"),
    ],
)
def test_wrong_numbers_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
