"""SIMILAR: rows like those of rare classes, or unlike all that is known, by submodular information measures."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import Picked, pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.max_det import Residuals, conditioned, explained, residuals
from al_jax.acquisitions.toolbox.representations import Factors, Name, known_rows, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import inner_products, nearest, unit
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

Kind = Literal["flqmi", "flcg", "logdetcmi"]


@memoised
def mutual_information(
    kind: Kind = "flcg", classes: Sequence[int] = (), representation: Name = "gradients", trade_off: float = 1.0
) -> Acquisition:
    """The batch that tells most about queries, or that known rows tell least about (Kothawade et al. 2021, SIMILAR).

    s are cosines of the representation. Greedily maximises, over batches A of available rows,

    - "flqmi", for rare classes: sum_q max_a s(q, a) + trade_off * sum_a max_q s(q, a), where the queries q are the
      labelled rows of `classes`;
    - "flcg", for what is new, as rows out of the distribution are to a labelled set: sum_u max(max_a s(u, a) -
      trade_off * max_p s(u, p), 0) over available rows u, where p are the labelled rows of `classes`, by default all;
    - "logdetcmi", for both: log det(K_A given P) - log det(K_A given P and Q), where K = s + I, the queries Q are the
      labelled rows of `classes` and P all other labelled rows: twice the information of a Gaussian process about Q
      in A that P has not.

    `Acquired.scores` are the gains. Without a labelled row of these classes, "flqmi" and "logdetcmi" are random. Cost:
    "flqmi" O(N Q) a pick for Q labelled slots, memory [N, Q]; "flcg" as of `max_herding`, "logdetcmi" twice that of
    `max_det`. ValueError for another kind, for no classes but with "flcg", for a negative trade-off and one of
    "logdetcmi", and when it needs features and the network names none.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}: expected {' or '.join(map(repr, get_args(Kind)))}")
    if kind != "flcg" and not classes:
        raise ValueError("classes=(): expected the classes whose labelled rows are the queries")
    if kind == "logdetcmi" and trade_off != 1:
        raise ValueError(f"trade_off={trade_off}: kind='logdetcmi' has none, expected 1")
    if not 0 <= trade_off < float("inf"):
        raise ValueError(f"trade_off={trade_off}: expected a finite number, 0 or more")
    of, wanted = named(representation), jnp.asarray(sorted(classes), jnp.int32)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
        everything = labelled
        if classes:
            if round.data.labelled.labels is None:
                raise ValueError("the acquisition reads the labels of labelled rows: give acquire() labelled_labels")
            labelled &= jnp.isin(round.data.labelled.labels, wanted)
        rows, known = unit(rows), unit(known)
        if kind == "flcg":
            to_known = nearest(rows, known, labelled)[0]
            cover = jnp.where(jnp.isfinite(to_known), trade_off * (1.0 - to_known / 2.0), 0.0)
            weights = free.astype(jnp.float32)
            picked = facility_location(rows, weights, cover, lambda squared: 1.0 - squared / 2.0, free, batch_size)
            return Acquired(order[picked.positions], picked.values)
        if kind == "logdetcmi":
            picked = _conditional_information(rows, known, labelled, everything, free, batch_size)
            return Acquired(order[picked.positions], picked.values)
        similar = jnp.where(labelled, inner_products(rows, known), -jnp.inf)  # [n, Q]
        alone = jnp.where(labelled.any(), trade_off * similar.max(axis=1), 0.0)

        def gains(cover: Array, _: Array) -> Array:
            more = jnp.where(labelled, jnp.maximum(similar - cover, 0.0), 0.0)
            return more.sum(axis=1) + alone

        # An empty batch covers a query by the lowest cosine there is.
        start = jnp.full(len(labelled), -1.0)
        picked = pick_one_by_one(start, gains, lambda cover, row: jnp.maximum(cover, similar[row]), free, batch_size)
        return Acquired(order[picked.positions], picked.values)

    return Acquisition(summarised(of), select, of_labelled(of))


def _conditional_information(
    rows: Factors, known: Factors, queries: Array, labelled: Array, free: Array, batch_size: int
) -> Picked:
    """Greedily maximise log det(K_A given P) - log det(K_A given P and Q), by two Cholesky factors."""
    known = tuple(jnp.where(labelled[:, None], factor, 0.0) for factor in known)
    given = [explained(rows, known, some, 1.0) for some in (labelled & ~queries, labelled)]

    def gains(state: tuple[Residuals, Residuals], _: Array) -> Array:
        without, with_queries = (jnp.log1p(one.variances) for one in state)
        return without - with_queries

    def updated(state: tuple[Residuals, Residuals], row: Array) -> tuple[Residuals, ...]:
        return tuple(conditioned(one, rows, so_far, 1.0, row) for one, so_far in zip(state, given, strict=True))

    start = tuple(residuals(rows, so_far, batch_size) for so_far in given)
    return pick_one_by_one(start, gains, updated, free, batch_size)
