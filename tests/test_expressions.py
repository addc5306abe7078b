"""Texts become the library's objects; everything else becomes one line that says where and what was expected."""

import numpy as np
import pytest

from al_jax import acquisitions as aq
from al_jax import data, models, posteriors, training, vocabulary
from al_jax.acquisitions import acquire
from al_jax.expressions import ExpressionError
from al_jax.likelihood import categorical

CANONICAL = [
    ("acquisition", " bald ", "bald"),
    ("acquisition", "top_k(bald)", "bald"),
    ("acquisition", "core_set()", "core_set"),
    ("acquisition", "prefilter(bald,200,core_set())", "prefilter(bald, 200, core_set)"),
    ("acquisition", "prefilter(m=200, score=bald, acquisition=entropy)", "prefilter(bald, 200, entropy)"),
    ("acquisition", "batchbald(10000)", "batchbald"),
    ("acquisition", "batchbald(num_configurations=1_000)", "batchbald(num_configurations=1000)"),
    ("acquisition", "stochastic_top_k(bald, 'power', coldness=2)", "stochastic_top_k(bald, coldness=2.0)"),
    ("acquisition", "epig(100)", "epig(targets=100)"),
    ("acquisition", "mixture(bald, random(), shares=[.8, 0.2])", "mixture(bald, random, shares=(0.8, 0.2))"),
    ("acquisition", "aggregate(bald, 'max')", "aggregate(bald, by='max')"),
    ("acquisition", "prefilter(aggregate(bald), 9, multi_label(entropy))", "prefilter(aggregate(bald), 9, "
     "multi_label(entropy))"),
    ("data", "repeated(mnist, 3, noise=1e-1)", "repeated(mnist)"),
    ("data", 'tfds("emnist/balanced")', "tfds('emnist/balanced')"),
    ("data", "with_initial(digits, [3, 1])", "with_initial(digits, (3, 1))"),
    ("network", "mlp((8,), dropout=0.5)", "mlp(hidden=(8,), dropout=0.5)"),
    ("network", "gal_cnn(dense=dense)", "gal_cnn(dense=dense)"),
    ("posterior", "ensemble(point(), 5)", "ensemble(point)"),
    ("posterior", "svi(prior={'Dense_0': 1})", "svi(prior={'Dense_0': 1.0})"),
    ("training", "epochs=50, adam(1e-3), early_stopping(3)", "adam, early_stopping(3), epochs=50"),
    ("training", "adam(3e-4), penalty=l2(2.5, only='^Dense, 0$')", "adam(learning_rate=0.0003), "
     "penalty=l2(2.5, only='^Dense, 0$')"),
    ("likelihood", "auto(noise=None)", "auto(noise=None)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "canonical"), CANONICAL)
def test_the_canonical_text_leaves_out_what_says_nothing_and_means_the_same(kind, text, canonical):
    assert vocabulary.expression(kind, text).text == canonical
    assert vocabulary.expression(kind, canonical).text == canonical


def test_a_parameter_that_the_data_would_give_is_never_left_out():
    """`mean` has a default, which is not what stands there when no mean is given."""
    assert vocabulary.expression("network", "mlp(mean=0)").text == "mlp(mean=0.0)"
    digits = data.load("digits")
    given, _ = vocabulary.posterior("point", digits, "mlp(mean=0)", "adam, steps=1")
    bound, _ = vocabulary.posterior("point", digits, "mlp", "adam, steps=1")
    assert given is not bound


def test_equal_texts_are_the_object_that_python_makes():
    assert vocabulary.acquisition("bald") is aq.top_k(aq.bald)
    assert vocabulary.acquisition("aggregate(bald)") is aq.top_k(aq.aggregate(aq.bald))
    assert vocabulary.acquisition("prefilter(bald, 9, core_set())") is aq.prefilter(aq.bald, 9, aq.core_set())
    made = vocabulary.expression("training", "adam(1e-2), steps=7, early_stopping(2, every=7)").make({})
    assert (made.steps, made.patience, made.evaluate_every, made.minibatch_size) == (7, 2, 7, 32)
    assert made.optimizer is training.adam(1e-2)
    digits = data.load("digits")
    posterior, likelihood = vocabulary.posterior("mc_dropout", digits, "mlp(mean=0, std=1)", "adam, steps=7")
    network = models.MLP(10, mean=0.0, std=1.0)
    assert likelihood is categorical()
    assert posterior is posteriors.mc_dropout(network, categorical(), training.training(training.adam(), steps=7))


def test_equal_acquisitions_are_compiled_once():
    table = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=(12, 4)))
    compiled = acquire.__globals__["_acquire"]  # its jitted part
    first = acquire(aq.prefilter(aq.entropy, 7, aq.batchbald(50)), table, 2)
    size = compiled._cache_size()
    second = acquire(aq.prefilter(aq.entropy, 7, aq.batchbald(50)), table, 2)
    assert compiled._cache_size() == size
    assert first.indices.tolist() == second.indices.tolist()


WRONG = [
    ("acquisition", "", "empty; expected for example"),
    ("acquisition", "coreset()", "column 1 'coreset' is unknown: did you mean 'core_set'"),
    ("acquisition", "prefilter(bald, 20, coreset())", "column 21 'coreset' is unknown"),
    ("acquisition", "bald()", "column 1 bald is a function of predictions: name it without brackets"),
    ("acquisition", "core_set(3)", r"column 10 1 arguments are too many; expected core_set\(\)"),
    ("acquisition", "prefilter(bald)", r"m is missing; expected prefilter\(score, m, acquisition\)"),
    ("acquisition", "prefilter(bald, 'a', core_set())", "column 17 'a' where a whole number was expected"),
    ("acquisition", "prefilter(bald, 2.5, core_set())", "column 17 2.5 where a whole number was expected"),
    ("acquisition", "prefilter(bald, True, core_set())", "column 17 True where a whole number"),
    ("acquisition", "prefilter(bald, -1, core_set())", "prefilter: m=-1: expected at least 1"),
    ("acquisition", "prefilter(core_set, 5, bald)", "column 11 core_set makes an Acquisition; expected a score"),
    ("acquisition", "prefilter(bald, 5, 5)", "column 20 5 where an Acquisition was expected"),
    ("acquisition", "prefilter(bald, 5, core_set(), 6)", "column 32 4 arguments are too many"),
    ("acquisition", "prefilter(bald, 5, acquisition=bald, m=5)", "m is given twice"),
    ("acquisition", "stochastic_top_k(bald, kind='pow')", "'pow' where 'power' or 'softmax' or 'softrank' was"),
    ("acquisition", "aggregate(random)", "random makes an Acquisition; expected a score such as bald"),
    ("acquisition", "aggregate(random())", "random makes an Acquisition; expected a score such as bald"),
    ("acquisition", "stochastic_top_k(bald, coldness=1e999)", "the number is too large; expected a finite one"),
    ("acquisition", "stochastic_top_k(bald, coldness=-1e999)", "the number is too large; expected a finite one"),
    ("acquisition", "stochastic_top_k(bald, coldness=nan)", "'nan' is unknown"),
    ("acquisition", "stochastic_top_k(bald, cold=1)", "has no argument 'cold', did you mean coldness"),
    ("acquisition", "epig(0)", "epig: targets=0: expected at least 1"),
    ("acquisition", "batchbald(10**9)", "an operator is not allowed"),
    ("acquisition", "__import__('os')", "column 1 '__import__' is unknown"),
    ("acquisition", "bald.__class__", "an attribute is not allowed"),
    ("acquisition", "core_set().select", "an attribute is not allowed"),
    ("acquisition", "prefilter.x(bald, 3)", "only names can be called"),
    ("acquisition", "(lambda: 1)()", "only names can be called"),
    ("acquisition", "lambda x: x", "a lambda is not allowed"),
    ("acquisition", "[bald][0]", "a subscript is not allowed"),
    ("acquisition", "[x for x in y]", "ListComp is not allowed"),
    ("acquisition", "bald if 1 else 2", "a condition is not allowed"),
    ("acquisition", "f'{bald}'", "an f-string is not allowed"),
    ("acquisition", "prefilter(*bald)", "a star is not allowed"),
    ("acquisition", "prefilter(**bald)", r"\*\* is not allowed"),
    ("acquisition", "bald; bald", "invalid syntax"),
    ("acquisition", "bald entropy", "column 6 invalid syntax"),
    ("acquisition", "'bald'", "'bald' where an Acquisition was expected"),
    ("acquisition", "(" * 10_000, "10000 characters; expected at most 4000"),
    ("acquisition", "(" * 30 + ")" * 30, "column 21 more than 20 brackets within brackets"),
    ("acquisition", "-" * 3999 + "1", "maximum recursion|too many|too complex|operator is not allowed|minus"),
    ("acquisition", "core_set(", "'\\(' is never closed"),
    ("acquisition", "core_set)", "column 9 '\\)' closes nothing that is open"),
    ("acquisition", "\uff42ald", "column 1 the character '\uff42' is no ASCII"),
    ("acquisition", "b\u0430ld", "column 2 the character '\u0430' is no ASCII"),
    ("acquisition", "bald\x00", "is no ASCII"),
    ("posterior", "mc_dropout(module=3)", "module is not given in a text, it is bound"),
    ("posterior", "ensemble(bald)", "'bald' is unknown"),
    ("posterior", "ensemble(point, 0)", "members=0"),
    ("training", "adam, adam", "2 optimisers: expected at most one"),
    ("training", "adam, steps=3, epochs=2", "give exactly one of the two budgets"),
    ("training", "adam(-1)", "learning_rate=-1.0: expected a positive, finite number"),
    ("training", "adam,, steps=3", "an argument is missing"),
    ("training", "penalty=l2(1, only='[')", r"only='\[': expected a regular expression"),
    ("data", "digits(test_size=5)", "test_size=5"),
    ("data", "mnist[0]", "a subscript is not allowed"),
    ("network", "mlp(hidden=8)", "8 where a sequence of a whole number was expected"),
]


@pytest.mark.parametrize(("kind", "text", "message"), WRONG)
def test_a_wrong_text_is_one_line_with_its_place_and_a_remedy(kind, text, message):
    bound = {"module": lambda _: models.MLP(3), "likelihood": lambda _: categorical()}
    bound |= {"training": lambda _: training.training()}
    with pytest.raises(ExpressionError, match=message) as caught:
        vocabulary.expression(kind, text).make(bound)
    assert str(caught.value).startswith(f"{kind}=")
    assert "\n" not in str(caught.value)


def test_deep_minus_signs_do_not_overflow_the_stack():
    with pytest.raises(ExpressionError):
        vocabulary.expression("acquisition", "prefilter(bald, " + "-" * 3900 + "1, bald)")
