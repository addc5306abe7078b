"""The laws hold for everything we ship, and break for the mistakes that other tools made."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import blobs, tiny
from tables import ACQUISITIONS, POSTERIORS, SCORES

from al_jax import acquisitions as aq
from al_jax import vocabulary
from al_jax.acquisitions.top_k import pointwise
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.models.forward import forward
from al_jax.posteriors import mc_dropout
from al_jax.testing import check_acquisition, check_posterior, check_score
from al_jax.training import Training
from al_jax.types import Acquired, Acquisition


@pytest.mark.parametrize("name", SCORES)
def test_every_score_obeys_the_laws_within_its_bounds(name):
    low, high = SCORES[name]
    check_score(getattr(aq, name), low=lambda k, c: low, high=high)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_obeys_the_laws(name):
    check_acquisition(vocabulary.acquisition(ACQUISITIONS[name].text))


def test_epig_about_given_targets_obeys_the_laws():
    check_acquisition(aq.epig(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)))


def test_acquisitions_obey_the_laws_on_a_posterior():
    check_acquisition(aq.prefilter(aq.bald, 12, aq.core_set()), tiny("mc_dropout"), blobs(0, 24)[0])


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_posterior_obeys_the_laws(name):
    check_posterior(tiny(name), *blobs(0, 15))


def test_a_posterior_trained_in_epochs_with_early_stopping_obeys_the_laws():
    training = Training(optax.adam(1e-2), minibatch_size=5, epochs=4, patience=2, monitor="accuracy")
    check_posterior(tiny("debal", training), *blobs(0, 15))


# What must break: each of these is a mistake that was found in a published tool.


def first_class_wins_ties(log_probs):
    return 1.0 - jax.nn.one_hot(log_probs.argmax(-1), log_probs.shape[-1]).mean(-2).max(-1)


def test_a_score_that_gives_tied_votes_to_the_first_class_breaks_a_law():
    with pytest.raises(AssertionError, match="order of classes"):
        check_score(first_class_wins_ties)


def test_unguarded_p_log_p_breaks_a_law():
    def unguarded(log_probs):
        p = jnp.exp(log_probs).mean(-2)
        return -(p * jnp.log(p)).sum(-1)

    with pytest.raises(AssertionError, match="finite at probabilities 0 and 1"):
        check_score(unguarded)


def test_a_mean_over_one_repeated_sample_breaks_a_law():
    with pytest.raises(AssertionError, match="order of samples"):
        check_score(lambda log_probs: aq.entropy(log_probs[..., :1, :]))


def test_a_score_of_the_wrong_axis_breaks_a_law():
    with pytest.raises(AssertionError, match="shape"):
        check_score(lambda log_probs: aq.bald(log_probs)[..., None])


def test_bounds_are_checked():
    with pytest.raises(AssertionError, match="upper bound"):
        check_score(aq.entropy, high=lambda k, c: 0.1)


def picks(choose) -> Acquisition:
    def select(key, round, summary, available, batch_size):
        indices = choose(key, summary, available, batch_size)
        return Acquired(indices, summary[indices])

    return Acquisition(pointwise(aq.bald), select)


def test_ignoring_available_breaks_a_law():
    with pytest.raises(AssertionError, match="unavailable"):
        check_acquisition(picks(lambda key, s, available, b: jnp.argsort(-s)[:b]))


def test_choosing_a_row_twice_breaks_a_law():
    with pytest.raises(AssertionError, match="twice"):
        check_acquisition(
            picks(lambda key, s, available, b: jnp.argmax(jnp.where(available, s, -1)) + jnp.zeros(b, int))
        )


def test_fewer_than_b_rows_break_a_law():
    with pytest.raises(AssertionError, match="exactly B"):
        check_acquisition(picks(lambda key, s, available, b: jnp.argsort(~available)[: b - 1]))


def test_a_score_relative_to_its_chunk_breaks_a_law():
    relative = aq.top_k(aq.bald)._replace(
        summarise=lambda round, x, rows: (
            aq.bald(round.functions(x).log_probs) / aq.bald(round.functions(x).log_probs).max()
        )
    )
    with pytest.raises(AssertionError, match="chunk size"):
        check_acquisition(relative)


def test_reading_the_padding_breaks_a_law():
    padded = aq.core_set()._replace(
        select=lambda key, round, summary, available, b: aq.core_set().select(
            key,
            round._replace(
                context=(jnp.nan_to_num(round.context[0], nan=9.0),),
                data=round.data._replace(labelled=round.data.labelled._replace(count=99)),
            ),
            summary,
            available,
            b,
        )
    )
    with pytest.raises(AssertionError, match="padding"):
        check_acquisition(padded)


def test_a_matrix_product_in_low_precision_breaks_a_law():
    low = aq.top_k(aq.bald)._replace(
        summarise=lambda round, x, rows: (round.functions(x).features @ jnp.ones((5, 1)))[:, 0]
    )
    with pytest.raises(AssertionError, match="full precision"):
        check_acquisition(low)


def per_row_masks(posterior, module):
    """Predictions of a batch under dropout as most tools make them: every row and chunk with masks of its own."""

    def predict(state, draws, x):
        logits = jax.vmap(lambda key: forward(module, state, x, {"dropout": key}).logits, out_axes=-2)(draws)
        return categorical().predictions(logits, *forward(module, state, x))

    return posterior._replace(predict=predict)


def test_a_dropout_mask_of_its_own_for_every_row_breaks_a_law():
    module = MLP(3, (8,), 0.5)
    posterior = mc_dropout(module, categorical(), Training(optax.adam(1e-2), steps=5))
    with pytest.raises(AssertionError, match="one draw is one function"):
        check_posterior(per_row_masks(posterior, module), *blobs(0, 15))


def test_training_on_the_padding_breaks_a_law():
    posterior = tiny("point")

    def fit(key, state, data):
        return posterior.fit(key, state, data._replace(labelled=data.labelled._replace(count=jnp.asarray(15))))

    with pytest.raises(AssertionError, match=r"finite|past count"):
        check_posterior(posterior._replace(fit=fit), *blobs(0, 15))


def test_too_few_rows_and_half_given_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 8"):
        check_posterior(tiny("point"), *blobs(0, 5))
    with pytest.raises(ValueError, match="both or neither"):
        check_acquisition(aq.random(), tiny("point"))
