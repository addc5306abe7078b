"""Tasks by name, and the surface of a score over two moons."""

import jax
import numpy as np
import pytest

from al_jax import acquisitions as aq
from al_jax import campaign, data, lab
from al_jax.lab import recorded

jax.devices()  # JAX begins here, so that the lab leaves this process its one device


@pytest.fixture(scope="module")
def surface():
    moons = lab.task("two_moons", num_samples=8)
    return lab.surface({"bald": aq.bald, "core": aq.core_set()}, labels=6, batch_size=3, task=moons, resolution=12)


def test_a_surface_is_a_table_of_scores_over_the_plane(surface):
    assert list(surface.grid) == ["x", "y", "probability", "bald", "core"]
    assert len(surface.grid) == 144
    assert surface.grid["probability"].between(0, 1).all()
    assert surface.grid["bald"].between(0, np.log(2) + 1e-6).all()
    assert surface.grid["bald"].nunique() > 60, "and 0 where the samples agree"
    assert surface.shaded_by == {"bald": "bald", "core": "core (shade: BALD)"}
    np.testing.assert_allclose(surface.grid["bald"], surface.grid["core"], atol=1e-6)


def test_it_says_what_was_labelled_and_what_is_picked(surface):
    moons = data.load("two_moons")
    assert surface.labelled["label"].tolist().count(0) == 3
    for table in (surface.labelled, surface.picks):
        np.testing.assert_array_equal(table[["x", "y"]], moons.inputs[table["row"]])
        np.testing.assert_array_equal(table["label"], moons.labels[table["row"]])
    assert surface.picks.groupby("method")["row"].nunique().to_dict() == {"bald": 3, "core": 3}
    assert not set(surface.picks["row"]) & set(surface.labelled["row"])


def test_the_picks_are_those_of_the_first_round_of_a_campaign(surface):
    moons = lab.task("two_moons", num_samples=8, seeds=1, initial_labels=6, batch_size=3, max_labels=9)
    ready = recorded.ready(moons)
    run = campaign.run(ready.posterior, aq.top_k(aq.bald), ready.dataset, ready.settings)
    assert run.acquired.query("round >= 0")["row"].tolist() == surface.picks.query("method == 'bald'")["row"].tolist()


def test_a_panel_for_each_score(surface):
    assert [axes.get_title(loc="left") for axes in surface.figure().axes] == ["bald", "core (shade: BALD)"]
    assert "what is picked" in str(surface)
    assert "data:image/png;base64," in surface._repr_html_()


def test_a_score_that_cannot_work_and_inputs_that_are_no_points_are_refused():
    with pytest.raises(lab.CheckError, match="wrong shape"):
        lab.surface(lambda log_probs: log_probs.mean(-1))
    with pytest.raises(ValueError, match=r"\[1297, 8, 8, 1\]: expected points \[n, 2\]"):
        lab.surface(aq.bald, task=lab.task("digits", batch_size=2), labels=10)


@pytest.mark.parametrize("name", ["digits", "two_moons", "repeated", "imbalanced", "noisy_labels"])
def test_every_task_without_a_download_is_ready_for_a_campaign(name):
    ready = recorded.ready(name, 2)
    assert ready.settings.seeds == 2
    assert ready.settings.chunk_size
    campaign.validate(ready.dataset, ready.settings)
    campaign.start_rows(ready.dataset, ready.settings)
    row = jax.tree.map(lambda leaf: leaf[:1], ready.dataset.inputs)
    jax.eval_shape(ready.posterior.init, jax.random.key(0), row)


def test_the_harder_tasks_are_digits_with_something_about_them():
    digits, repeated, imbalanced, noisy = (
        recorded.ready(name).dataset for name in ("digits", "repeated", "imbalanced", "noisy_labels")
    )
    assert len(repeated.labels) == 3 * len(digits.labels)
    assert np.bincount(imbalanced.labels)[:5].max() < 0.2 * np.bincount(imbalanced.labels)[5:].min()
    assert 0.15 < (noisy.labels != digits.labels).mean() < 0.25
    for task in (repeated, imbalanced, noisy):
        np.testing.assert_array_equal(task.test_labels, digits.test_labels)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_image_tasks_offer_all_methods_the_same_random_rows(name):
    assert lab.TASKS[name].settings.pool_subset == 2000


def test_settings_of_a_task_can_be_replaced_and_wrong_ones_are_refused():
    assert lab.task("digits", max_labels=50).settings.max_labels == 50
    assert lab.task(lab.task("digits", max_labels=50), seeds=3).settings.max_labels == 50
    with pytest.raises(ValueError, match="task='two_moon' is unknown: did you mean 'two_moons'"):
        lab.task("two_moon")
    with pytest.raises(TypeError, match="lables"):
        lab.task("digits", lables=50)
    with pytest.raises(ValueError, match="max_labels=5000"):
        recorded.ready(lab.task("digits", max_labels=5000))
