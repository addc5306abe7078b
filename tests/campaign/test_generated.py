"""Generated rows: they train under the label of the row that they were made from, and count nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import tiny

from al_jax.acquisitions import bald, borda, deepfool, mixture, prefilter
from al_jax.campaign import Settings, run
from al_jax.campaign.store import open_store
from al_jax.engine.state import absorbing, generated, starting
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import point
from al_jax.training import Training, adam

SETTINGS = Settings(seeds=2, initial_labels=3, batch_size=4, max_labels=13, num_samples=2)
POSTERIOR = point(MLP(3, (8,), 0.0), categorical(), Training(adam(1e-2), minibatch_size=8, steps=20))


@pytest.fixture(scope="module")
def done(dataset):
    return run(POSTERIOR, deepfool(5, augment=True), dataset, SETTINGS)


def test_every_acquired_row_has_a_twin_under_its_label_and_initial_rows_have_none(done, dataset):
    for seed in range(2):
        labelled = jax.tree.map(lambda leaf, s=seed: np.asarray(leaf)[s], done.state.labelled)
        rows, labels, x = (leaf[: labelled.count] for leaf in (labelled.rows, labelled.labels, labelled.inputs))
        assert labelled.count == 3 + 2 * 10, "13 labels, of which 3 are initial ones"
        assert (rows[:3] >= 0).all()
        place = 3
        for size in (4, 4, 2):
            batch, twins = slice(place, place + size), slice(place + size, place + 2 * size)
            assert (rows[batch] >= 0).all()
            assert (rows[twins] == -1).all()
            np.testing.assert_array_equal(labels[twins], labels[batch])
            np.testing.assert_array_equal(x[batch], dataset.inputs[rows[batch]])
            moved = np.linalg.norm(x[twins] - x[batch], axis=1)
            assert (moved < 5).all()
            assert (moved > 0).any()
            place += 2 * size
        assert len(set(rows[rows >= 0])) == 13


def test_a_twin_is_on_the_other_side_of_the_boundary_that_chose_it(dataset):
    """Of the first batch, by the network of the first round."""
    seen = []

    def oracle(rows):
        seen.append(rows)
        return dataset.labels[rows], np.ones(rows.shape, bool)

    first = run(POSTERIOR, deepfool(20, augment=True), dataset, SETTINGS, oracle=oracle)
    labelled = jax.tree.map(lambda leaf: np.asarray(leaf)[0], first.state.labelled)
    one = run(POSTERIOR, deepfool(20), dataset, Settings(**{**vars(SETTINGS), "max_labels": 3}))
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], one.state.posterior)
    classes = [
        np.asarray(POSTERIOR.predict(state, None, jnp.asarray(x)).point).argmax(1)
        for x in (labelled.inputs[3:7], labelled.inputs[7:11])
    ]
    assert (classes[0] != classes[1]).all()
    np.testing.assert_array_equal(labelled.rows[3:7], seen[0][0])


def test_labels_are_counted_without_twins_and_twins_apart(done):
    for _, rounds in done.rounds.groupby("seed"):
        assert rounds["num_labelled"].tolist() == [3, 7, 11, 13]
        assert rounds["info_generated"].tolist() == [0, 4, 8, 10]
    assert (done.acquired["row"] >= 0).all()
    assert done.acquired.groupby("seed").size().tolist() == [13, 13]


def test_the_first_metrics_are_those_without_twins_and_later_ones_are_not(done, dataset):
    plain = run(POSTERIOR, deepfool(5), dataset, SETTINGS)
    for table in (plain.rounds, done.rounds):
        assert table["num_labelled"].tolist() == [3, 7, 11, 13] * 2
    one, other = (table.set_index(["seed", "num_labelled"])["nll"] for table in (plain.rounds, done.rounds))
    np.testing.assert_allclose(one.xs(3, level=1), other.xs(3, level=1), rtol=1e-5)
    assert np.abs(one.xs(7, level=1) - other.xs(7, level=1)).max() > 1e-4


def test_a_row_that_nobody_answers_has_no_twin(dataset):
    def oracle(rows):
        answered = np.zeros(rows.shape, bool)
        answered[:, ::2] = True
        return dataset.labels[rows], answered

    found = run(POSTERIOR, deepfool(5, augment=True), dataset, SETTINGS, oracle=oracle)
    assert found.rounds["num_labelled"].tolist() == [3, 5, 7, 9, 11, 13] * 2
    assert found.rounds["info_generated"].tolist() == [0, 2, 4, 6, 8, 10] * 2


def test_a_killed_run_resumes_with_its_twins(done, dataset, tmp_path):
    stops = iter([False, True])
    method = deepfool(5, augment=True)
    kept = open_store(tmp_path, {"a": 1})
    first = run(POSTERIOR, method, dataset, SETTINGS, results=kept, stop=lambda: next(stops))
    assert not first.finished
    rest = run(POSTERIOR, method, dataset, SETTINGS, results=open_store(tmp_path, {"a": 1}, resume=True))
    columns = [c for c in done.rounds if c not in ("seconds",)]
    pd.testing.assert_frame_equal(rest.rounds[columns], done.rounds[columns])
    for one, other in zip(jax.tree.leaves(rest.state.labelled), jax.tree.leaves(done.state.labelled), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pool_on_the_host_gives_the_same(done, dataset):
    settings = Settings(**{**vars(SETTINGS), "pool_on": "host"})
    there = run(POSTERIOR, deepfool(5, augment=True), dataset, settings)
    pd.testing.assert_frame_equal(there.acquired, done.acquired)
    assert there.rounds["info_generated"].tolist() == done.rounds["info_generated"].tolist()


def test_a_shortlist_keeps_twins_and_a_combination_refuses_them(dataset):
    short = run(POSTERIOR, prefilter(bald, 12, deepfool(5, augment=True)), dataset, SETTINGS)
    assert short.rounds["info_generated"].max() == 10
    for combine in (lambda part: borda(bald, part), lambda part: mixture(bald, part, shares=(0.5, 0.5))):
        with pytest.raises(ValueError, match=r"a part generates rows: expected one without"):
            combine(deepfool(5, augment=True))


def test_twins_that_are_not_announced_or_of_another_type_are_refused(dataset):
    method = deepfool(5, augment=True)
    for wrong, words in (
        (method._replace(twins=False), r"twins=False, and `select` has info\['twins'\]"),
        (deepfool(5)._replace(twins=True), r"twins=True, and `select` lacks info\['twins'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            run(POSTERIOR, wrong, dataset, SETTINGS)

    def rounded(*args):
        found = method.select(*args)
        return found._replace(info=found.info | {"twins": found.info["twins"].astype(jnp.int32)})

    with pytest.raises(ValueError, match="has rows of int32: expected float32, as the inputs"):
        run(POSTERIOR, method._replace(select=rounded), dataset, SETTINGS)


def test_the_buffer_takes_labels_up_to_its_limit_however_many_twins(dataset):
    """By hand: limit 4, two rows known, batches of 3."""
    posterior = tiny("point")
    x, y = jnp.asarray(dataset.inputs), jnp.asarray(dataset.labels)
    rows = jnp.array([0, 1])
    state = starting(posterior, 14, False)(jax.random.key(0), x[rows], rows, y[rows], jnp.ones(48, bool))
    batch = jnp.array([5, 5, 7])
    state = absorbing(4)(state, x[batch], batch, y[batch], jnp.ones(3, bool), None, x[batch] + 1)
    assert state.labelled.rows[:6].tolist() == [0, 1, 5, 7, -1, -1]
    np.testing.assert_allclose(state.labelled.inputs[4:6], x[jnp.array([5, 7])] + 1)
    assert int(generated(state.labelled)) == 2
    batch = jnp.array([9, 10, 11])
    state = absorbing(4)(state, x[batch], batch, y[batch], jnp.ones(3, bool), None, x[batch] + 1)
    assert int(state.labelled.count) == 6, "four labels were there"
