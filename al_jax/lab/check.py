"""The laws of scores and acquisitions, explained in words with the case that breaks one."""

import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from al_jax import testing
from al_jax.acquisitions import top_k
from al_jax.lab.recorded import start
from al_jax.types import Acquisition, ScoreFn

CONTRACT = (
    "A score is a function log_probs [..., K, C] -> [...]: of the log-probabilities of K posterior samples over C "
    "classes it makes one number for every row; higher means label it sooner."
)
REMEDIES = {
    jax.errors.TracerBoolConversionError: "It asks `if`, `and` or `while` about values, which are not known when it is "
    "compiled: use jnp.where(condition, a, b).",
    jax.errors.TracerArrayConversionError: "It hands the values to NumPy, which cannot be compiled: use jax.numpy for "
    "every step, `import jax.numpy as jnp`.",
    jax.errors.ConcretizationTypeError: "It needs a value that is not known when it is compiled (a float(), an int(), "
    "a shape made of values): use jnp.where, sums and masks instead.",
    jax.errors.NonConcreteBooleanIndexError: "It selects by a boolean mask, so the shape of the result depends on the "
    "values: use jnp.where(mask, x, 0).",
}
LAWS = {
    "under vmap": "mapped over rows with jax.vmap it gives other scores, so a row's score depends on the other rows",
    "under jit": "compiled with jax.jit it gives other scores: does it use Python's or NumPy's random numbers?",
    "float64": "in float64 it gives other scores or another type: does it fix a dtype, or lose small numbers in "
    "float32? Sum probabilities in log space (al_jax.information)",
    "samples": "it depends on the order of the posterior samples, which means nothing",
    "classes": "it depends on the order of the classes",
    "never a row twice": "a batch has a row twice; jax.lax.top_k and argsort give distinct ones",
    "unavailable row": "it picks rows that are labelled already: give rows with available=False a score of -inf",
    "chunk size": "scores depend on which rows are summarised together: `summarise` sees only a chunk of the pool; "
    "what needs all rows belongs into `select`",
    "padding": "it reads slots of `round.data.labelled` past `count`, which hold no labels: mask them",
    "a function of its key": "the same key gives different batches: take all randomness from `key`",
    "full precision": "a matrix product would be rounded on TPUs: give it precision='highest'",
}


class CheckError(AssertionError):
    """A score or an acquisition breaks a law; the message has the case, and what could mend it."""


def check(method: ScoreFn | Acquisition) -> None:
    """Run the laws that every score and acquisition of the package obeys; silent when all hold.

    CheckError explains the first one that breaks: what came in, what came out, what was expected, and a remedy. The
    laws are listed at `al_jax.testing.check_score` and `check_acquisition`.
    """
    start()
    name = name_of(method)
    if isinstance(method, Acquisition):
        _in_words(name, lambda: testing.check_acquisition(method), Acquisition.__doc__ or "")
        return
    check_usable(method)
    generator = np.random.default_rng(1)
    for what, log_probs in testing.score_examples(generator).items():
        for axis, things in ((-2, "posterior samples"), (-1, "classes")):
            order = generator.permutation(log_probs.shape[axis])
            _same_for(name, method, what, log_probs, np.take(log_probs, order, axis), things)
    _in_words(name, lambda: testing.check_score(method), CONTRACT)


def check_usable(score: ScoreFn, name: str | None = None) -> None:
    """CheckError unless the score compiles and gives one finite number for every row, whatever rows are beside it.

    The part of `check` without which a comparison would mean nothing; it takes about a second.
    """
    name = name or name_of(score)
    if not callable(score):
        raise CheckError(f"{name} is {_what(score)}: expected a function or an Acquisition. {CONTRACT}")
    examples = testing.score_examples(np.random.default_rng(0))
    for what, log_probs in examples.items():
        scores = _called(name, score, log_probs)
        _right_shape(name, scores, log_probs.shape)
        _finite(name, np.asarray(scores), what, log_probs)
    log_probs = examples["for ordinary predictions"]
    order = np.array([3, 0, 5, 1, 4, 2])
    there, here = (np.asarray(_called(name, score, x)) for x in (log_probs[order], log_probs))
    _alike(name, there, here[order], log_probs, "the same six rows came in another order", "with its row", order)
    alone = np.array([np.asarray(_called(name, score, row[None]))[0] for row in log_probs])
    _alike(name, here, alone, log_probs, "a row came in together with five others", "the score it has alone")
    _traced(name, score, log_probs)


def name_of(method: Any) -> str:
    """What the user calls it."""
    return "the acquisition" if isinstance(method, Acquisition) else getattr(method, "__name__", "the score")


def explained(name: str, error: Exception, contract: str = CONTRACT) -> CheckError:
    """What an exception in somebody's function means, with its line there instead of the trace through JAX."""
    hint = next((text for kind, text in REMEDIES.items() if isinstance(error, kind)), contract)
    message = (str(error) or type(error).__name__).strip().splitlines()[0]
    return CheckError(f"{name} raised {type(error).__name__}: {message}{_where(error)}\n{hint}")


def _where(error: Exception) -> str:
    """The innermost line that is no library's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.line and not _of_library(f.filename)]
    return f"\n  in line {frames[-1].lineno} of {frames[-1].name}: {frames[-1].line}" if frames else ""


def _of_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith("<frozen") or filename in OWN_FILES


OWN_FILES = {__file__, testing.__file__, top_k.__code__.co_filename}


def _called(name: str, score: ScoreFn, log_probs: np.ndarray) -> Any:
    try:
        return score(jnp.asarray(log_probs))
    except Exception as error:  # whatever the user's function does
        told = f"{name}, given log_probs of shape {log_probs.shape}: [rows..., K, C],"
        raise explained(told, error) from None


def _right_shape(name: str, scores: Any, shape: tuple[int, ...]) -> None:
    expected = shape[:-2]
    if not hasattr(scores, "shape") or not hasattr(scores, "dtype"):
        raise CheckError(
            f"{name} returned {_what(scores)} for log_probs of shape {shape}: expected an array of shape {expected}. "
            f"{CONTRACT}"
        )
    found = tuple(scores.shape)
    if found == expected and jnp.issubdtype(scores.dtype, jnp.floating):
        return
    if found == expected:
        raise CheckError(f"{name} returned {scores.dtype} numbers: expected floats, for which ties are rare")
    rows, k, c = shape[:-2], *shape[-2:]
    remedy = "reduce the axes -2 (samples) and -1 (classes), and no other"
    if found == (*rows, k):
        remedy = "the samples are still there: reduce the axis -2 too, e.g. .mean(-2) before or .mean(-1) after"
    elif found == (*rows, c):
        remedy = "the classes are still there: reduce the axis -1 too, e.g. .sum(-1)"
    elif found == () and rows:
        remedy = "all rows were reduced to one number: give sums and means an axis, -2 for samples and -1 for classes"
    elif len(shape) > 3 or not rows:
        remedy = "it works for [rows, K, C] alone: count axes from the end, -2 for samples and -1 for classes"
    raise CheckError(
        f"{name} has the wrong shape.\n  in: log_probs of shape {shape}, that is [rows..., K = {k}, C = {c}]\n"
        f"  out: {found}\n  expected: {expected}, one number for every row\n  remedy: {remedy}"
    )


def _finite(name: str, scores: np.ndarray, what: str, log_probs: np.ndarray) -> None:
    wrong = np.argwhere(~np.isfinite(scores))
    if len(wrong):
        row = tuple(wrong[0])
        remedy = "log 0 is -inf and 0 * -inf is NaN: al_jax.information.entropy takes care of both"
        if "K = 1" in what:
            remedy = "with one posterior sample there is nothing to compare: is a deviation divided by K - 1?"
        if "uniform" in what:
            remedy = "all samples agree here: is something divided by their spread?"
        raise CheckError(
            f"{name} is {scores[row]} {what}.\n  in, one row of probabilities [K, C]:\n"
            f"{_probabilities(log_probs[row])}\n  out: {scores[row]}\n  expected: a finite number\n  remedy: {remedy}"
        )


def _alike(
    name: str, got: np.ndarray, expected: np.ndarray, log_probs: np.ndarray, what: str, where: str, order: Any = None
) -> None:
    if np.allclose(got, expected, rtol=testing.TOLERANCE, atol=testing.TOLERANCE):
        return
    worst = int(np.argmax(np.abs(got - expected)))
    row = worst if order is None else int(order[worst])
    raise CheckError(
        f"{name} depends on which rows come together: {what}.\n  in, the row of probabilities [K, C]:\n"
        f"{_probabilities(log_probs[row])}\n  out: {got[worst]:.6g}\n  expected: {expected[worst]:.6g}, {where}\n"
        "  remedy: the pool comes in chunks, so a score may look at its own row alone: give every sum, mean, max and "
        "sort an axis of -1 or -2. What compares rows is an Acquisition, whose `select` sees all of them"
    )


def _same_for(name: str, score: ScoreFn, what: str, log_probs: np.ndarray, shuffled: np.ndarray, things: str) -> None:
    before, after = (np.asarray(_called(name, score, x)) for x in (log_probs, shuffled))
    if np.allclose(before, after, rtol=testing.TOLERANCE, atol=testing.TOLERANCE):
        return
    row = np.unravel_index(int(np.argmax(np.abs(before - after))), before.shape)
    raise CheckError(
        f"{name} depends on the order of the {things} {what}.\n  in, one row of probabilities [K, C]:\n"
        f"{_probabilities(log_probs[row])}\n  out: {before[row]:.6g}\n"
        f"  expected: the same for every order of the {things}, but in another order it is {after[row]:.6g}\n"
        f"  remedy: treat all {things} alike; where two tie, argmax takes the first (al_jax splits such a vote)"
    )


def _traced(name: str, score: ScoreFn, log_probs: np.ndarray) -> None:
    try:
        jax.eval_shape(score, jax.ShapeDtypeStruct(log_probs.shape, log_probs.dtype))
    except Exception as error:  # whatever the user's function does
        raise explained(f"{name} works on numbers but cannot be compiled: it", error) from None


def _in_words(name: str, run: Callable[[], None], contract: str) -> None:
    """Run a battery of `al_jax.testing`, with the broken law in words."""
    try:
        run()
    except AssertionError as broken:
        law, _, case = str(broken).removeprefix("broken law: ").partition("\n")
        words = next((text for key, text in LAWS.items() if key in law), "")
        raise CheckError(f"{name} breaks the law {law!r}{': ' if words else ''}{words}.\n{case}") from None
    except Exception as error:  # whatever the user's functions do
        raise explained(name, error, contract) from None


def _probabilities(log_probs: np.ndarray) -> str:
    with np.printoptions(precision=3, suppress=True, threshold=40, edgeitems=2):
        return "    " + str(np.exp(log_probs)).replace("\n", "\n    ")


def _what(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
