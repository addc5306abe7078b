"""What combinators are made of: parts that each have their own key, memory, context and summary."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

from al_jax.acquisitions.top_k import has_one_score, top_k
from al_jax.types import Acquired, Acquisition, Inputs, Pool, PRNGKey, Round, ScoreFn, nothing

Part: TypeAlias = ScoreFn | Acquisition
"""What may be combined: a score stands for `top_k` of it."""


def as_acquisition(part: Part) -> Acquisition:
    """The part itself, or `top_k` of a score; ValueError for one that generates rows: a combination would lose them."""
    acquisition = part if isinstance(part, Acquisition) else top_k(part)
    if acquisition.twins:
        raise ValueError("a part generates rows: expected one without, such as deepfool(augment=False)")
    return acquisition


def as_score(part: Part) -> Acquisition:
    """The part, if all that it makes of a row is one score; ValueError for a method that chooses in another way."""
    acquisition = as_acquisition(part)
    if not has_one_score(acquisition):
        raise ValueError("a part chooses whole batches: expected a score such as bald, or a method of one score a row")
    return acquisition


def one_shortlist(parts: tuple[Acquisition, ...]) -> tuple[ScoreFn, int] | None:
    """What all parts are restricted to; ValueError where they differ, for rows are summarised once for all parts."""
    shortlists = {part.shortlist for part in parts}
    if len(shortlists) > 1:
        told = ", ".join("none" if part.shortlist is None else f"{part.shortlist[1]} rows" for part in parts)
        raise ValueError(f"the parts have different shortlists ({told}): expected one; prefilter what is made of them")
    return shortlists.pop()


def view(round: Round, part: int) -> Round:
    """The round as one of the parts sees it."""
    return round._replace(
        key=jax.random.fold_in(round.key, part),
        memory=None if round.memory is None else round.memory[part],
        context=None if round.context is None else round.context[part],
    )


def predicted_once(round: Round, x: Inputs) -> Round:
    """The round, with the predictions for `x` made already, however many ask for them."""
    predictions = round.functions(x)
    return round._replace(functions=lambda other: predictions if other is x else round.functions(other))


def joined(parts: tuple[Acquisition, ...], select: Callable[[PRNGKey, Round, Any, Any, int], Acquired]) -> Acquisition:
    """The acquisition whose memory, context and summary are tuples with an item for every part."""

    def init(key: PRNGKey, pool: Pool) -> tuple[Any, ...]:
        return tuple(part.init(jax.random.fold_in(key, i), pool) for i, part in enumerate(parts))

    def prepare(key: PRNGKey, round: Round) -> tuple[Any, ...]:
        return tuple(part.prepare(jax.random.fold_in(key, i), view(round, i)) for i, part in enumerate(parts))

    def summarise(round: Round, x: Inputs, rows: Any) -> tuple[Any, ...]:
        shared = predicted_once(round, x)
        return tuple(part.summarise(view(shared, i), x, rows) for i, part in enumerate(parts))

    return Acquisition(
        summarise,
        select,
        nothing if all(part.prepare is nothing for part in parts) else prepare,
        nothing if all(part.init is nothing for part in parts) else init,
        one_shortlist(parts),
    )


def alongside(
    part: Acquisition, extra: Callable[[Any], Any], select: Callable[[PRNGKey, Round, Any, Any, int], Acquired]
) -> Acquisition:
    """The part, with `extra(predictions)` of every row beside its summary, and another choice among these pairs."""

    def summarise(round: Round, x: Inputs, rows: Any) -> tuple[Any, Any]:
        shared = predicted_once(round, x)
        return part.summarise(shared, x, rows), extra(shared.functions(x))

    return part._replace(summarise=summarise, select=select)
