"""SIMILAR: rows like those of rare classes, or unlike all that is known, by submodular information measures."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array

from al_jax.acquisitions.toolbox.facility_location import facility_location
from al_jax.acquisitions.toolbox.greedy import pick_one_by_one, shuffled
from al_jax.acquisitions.toolbox.representations import Name, known_rows, named, of_labelled, summarised
from al_jax.acquisitions.toolbox.similarities import inner_products, nearest, unit
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round

Kind = Literal["flqmi", "flcg"]


@memoised
def mutual_information(
    kind: Kind = "flcg", classes: Sequence[int] = (), representation: Name = "gradients", trade_off: float = 1.0
) -> Acquisition:
    """The batch that tells most about queries, or that known rows tell least about (Kothawade et al. 2021, SIMILAR).

    s are cosines of the representation. Greedily maximises, over batches A of available rows,

    - "flqmi", for rare classes: sum_q max_a s(q, a) + trade_off * sum_a max_q s(q, a), where the queries q are the
      labelled rows of `classes`;
    - "flcg", for what is new, as rows out of the distribution are to a labelled set: sum_u max(max_a s(u, a) -
      trade_off * max_p s(u, p), 0) over available rows u, where p are the labelled rows of `classes`, by default all.

    `Acquired.scores` are the gains. Without a labelled row of these classes, "flqmi" is random. Cost: "flqmi" O(N Q) a
    pick for Q labelled slots, memory [N, Q]; "flcg" as of `max_herding`. ValueError for another kind, "flqmi" without
    classes, a negative trade-off, and when it needs features and the network names none.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}: expected {' or '.join(map(repr, get_args(Kind)))}")
    if kind == "flqmi" and not classes:
        raise ValueError("classes=(): expected the classes whose labelled rows are the queries")
    if not 0 <= trade_off < float("inf"):
        raise ValueError(f"trade_off={trade_off}: expected a finite number, 0 or more")
    of, wanted = named(representation), jnp.asarray(sorted(classes), jnp.int32)

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        order, (rows, free) = shuffled(key, (summary, available))
        known, labelled = known_rows(round)
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
