"""What is wrong with a score is said in words, with the case: what came in, what came out, a remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax import acquisitions as aq
from al_jax import information, lab
from al_jax.lab.check import check_usable
from al_jax.types import Acquired

jax.devices()  # JAX begins here, so that the lab leaves this process its one device


def half_bald(log_probs):
    total = information.entropy(information.log_marginal(log_probs))
    return total - 0.5 * information.entropy(log_probs).mean(-1)


def no_mean_over_samples(log_probs):
    return information.entropy(log_probs)


def classes_left(log_probs):
    return log_probs.std(-2)


def one_number_for_all(log_probs):
    return jnp.exp(log_probs).std()


def a_list(log_probs):
    return [0.0]


def nothing(log_probs):
    """Forgets to return."""


def counts(log_probs):
    return jnp.argmax(log_probs.mean(-2), axis=-1)


def unguarded_entropy(log_probs):
    p = jnp.exp(log_probs).mean(-2)
    return -(p * jnp.log(p)).sum(-1)


def deviation_by_k_minus_1(log_probs):
    return jnp.exp(log_probs).std(-2, ddof=1).mean(-1)


def relative_to_the_pool(log_probs):
    score = aq.bald(log_probs)
    return score - (score.mean() if score.ndim else score)


def by_place(log_probs):
    score = aq.bald(log_probs)
    return score + jnp.arange(score.size).reshape(score.shape)


def of_the_first_sample(log_probs):
    return information.entropy(log_probs[..., 0, :])


def of_the_first_class(log_probs):
    return -jnp.exp(log_probs[..., 0]).mean(-1)


def asks_if(log_probs):
    if log_probs.mean() > 0:
        return aq.bald(log_probs)
    return aq.entropy(log_probs)


def in_numpy(log_probs):
    return jnp.asarray(1 - np.exp(np.array(log_probs)).mean(-2).max(-1))


def misspelt(log_probs):
    return jnp.exp(log_probs).avg(-2)


def random_numbers(log_probs):
    return aq.bald(log_probs) + jnp.asarray(np.random.default_rng().normal(size=log_probs.shape[:-2]), log_probs.dtype)


def test_a_sound_score_and_a_sound_acquisition_pass_in_silence(capsys):
    assert lab.check(half_bald) is None
    assert lab.check(aq.top_k(aq.bald)) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (no_mean_over_samples, ["wrong shape", "in: log_probs of shape (6, 5, 4)", "out: (6, 5)", "expected: (6,)"]),
        (no_mean_over_samples, ["the samples are still there", ".mean(-1)"]),
        (classes_left, ["out: (6, 4)", "the classes are still there"]),
        (one_number_for_all, ["out: ()", "all rows were reduced to one number"]),
        (a_list, ["returned a list", "expected an array of shape (6,)"]),
        (nothing, ["returned None"]),
        (counts, ["returned int32 numbers: expected floats"]),
        (unguarded_entropy, ["nan at probabilities 0 and 1", "expected: a finite number", "information.entropy"]),
        (deviation_by_k_minus_1, ["nan for K = 1", "K - 1"]),
        (relative_to_the_pool, ["depends on which rows come together", "the score it has alone", "remedy"]),
        (by_place, ["in another order", "row of probabilities", "expected"]),
        (of_the_first_sample, ["depends on the order of the posterior samples", "out:", "in another order it is"]),
        (of_the_first_class, ["depends on the order of the classes"]),
        (asks_if, ["cannot be compiled", "jnp.where", "if log_probs.mean() > 0"]),
        (in_numpy, ["cannot be compiled", "use jax.numpy", "np.exp(np.array(log_probs))"]),
        (misspelt, ["raised AttributeError", "'avg'", "jnp.exp(log_probs).avg(-2)", "[..., K, C]"]),
        ("bald", ["is a str", "expected a function or an Acquisition"]),
    ],
    ids=lambda value: getattr(value, "__name__", "-"),
)
def test_what_is_wrong_is_explained_with_the_case(score, told):
    with pytest.raises(lab.CheckError) as broken:
        lab.check(score)
    for words in told:
        assert words in str(broken.value)
    assert getattr(score, "__name__", "the score") in str(broken.value)


def test_no_trace_through_jax_comes_along():
    with pytest.raises(lab.CheckError) as broken:
        lab.check(asks_if)
    assert broken.value.__suppress_context__
    assert "Tracer" in str(broken.value), "the error is named"
    assert "site-packages" not in str(broken.value)


def test_random_numbers_in_a_score_are_found():
    with pytest.raises(lab.CheckError, match="come together"):
        check_usable(random_numbers)


def test_a_comparison_may_treat_classes_differently_but_not_rows():
    check_usable(of_the_first_class)
    with pytest.raises(lab.CheckError):
        check_usable(by_place)


@pytest.mark.parametrize(
    ("select", "told"),
    [
        (
            lambda key, round, summary, available, size: Acquired(*jax.lax.top_k(summary, size)[::-1]),
            "it picks rows that are labelled already",
        ),
        (
            lambda key, round, summary, available, size: Acquired(jnp.zeros(size, int), jnp.zeros(size)),
            "a batch has a row twice",
        ),
        (lambda key, round, summary, available, size: summary.best, "has no attribute 'best'"),
    ],
)
def test_what_is_wrong_with_an_acquisition_is_explained(select, told):
    with pytest.raises(lab.CheckError) as broken:
        lab.check(aq.top_k(aq.bald)._replace(select=select))
    assert told in str(broken.value)
