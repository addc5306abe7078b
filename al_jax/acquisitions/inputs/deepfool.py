"""DeepFool: the rows nearest to a decision boundary, measured in the inputs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from al_jax.acquisitions.top_k import select_best
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, Inputs, PRNGKey, Round


def norms(x: Inputs) -> Float[Array, " n"]:
    """Euclidean norm of every row, over all leaves."""
    squares = [jnp.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in jax.tree.leaves(x)]
    return jnp.sqrt(sum(squares, jnp.zeros(len(squares[0]))))


def times(scale: Float[Array, " n"], x: Inputs) -> Inputs:
    """Every row of x times its own number."""
    return jax.tree.map(lambda leaf: leaf * scale.reshape(-1, *([1] * (leaf.ndim - 1))), x)


def plus(a: Inputs, b: Inputs) -> Inputs:
    """a + b, leaf by leaf."""
    return jax.tree.map(jnp.add, a, b)


def boundary_step(
    log_p: Callable[[Inputs], Float[Array, "n C"]], x: Inputs, own: Array
) -> tuple[Float[Array, " n"], Inputs, Bool[Array, " n"]]:
    """How far the nearest boundary of the linearised network is, and the step onto it (Moosavi-Dezfooli 2016).

    Over classes k other than the row's own c: |f_k - f_c| / |grad f_k - grad f_c|. Logits and log-probabilities differ
    by the same number for all classes, so either will do. One backward pass a class, of which only the nearest is kept.
    The last result is False where no other class has a gradient.
    """
    values, pull = jax.vjp(log_p, x)
    num_classes = values.shape[-1]
    of_own = jax.nn.one_hot(own, num_classes, dtype=values.dtype)
    own_value = jnp.sum(jnp.where(of_own > 0, values, 0.0), axis=-1)

    def look(nearest: tuple[Array, Inputs], k: Array) -> tuple[tuple[Array, Inputs], None]:
        distance, step = nearest
        (slope,) = pull(jax.nn.one_hot(k, num_classes, dtype=values.dtype) - of_own)
        length = norms(slope)
        gap = jnp.abs(values[:, k] - own_value)
        possible = (length > 0) & (own != k) & jnp.isfinite(gap) & jnp.isfinite(length)
        own_distance = jnp.where(possible, gap / jnp.where(possible, length, 1.0), jnp.inf)
        closer = own_distance < distance
        scale = jnp.where(closer, own_distance / jnp.where(closer, length, 1.0), 0.0)
        candidate = times(scale, jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0.0), slope))
        kept = times(jnp.where(closer, 0.0, 1.0), step)
        return (jnp.where(closer, own_distance, distance), plus(kept, candidate)), None

    begin = jnp.full(len(own), jnp.inf), jax.tree.map(jnp.zeros_like, x)
    (distance, step), _ = jax.lax.scan(look, begin, jnp.arange(num_classes))
    return distance, step, jnp.isfinite(distance)


def perturbed(
    log_p: Callable[[Inputs], Float[Array, "n C"]], x: Inputs, steps: int, overshoot: float
) -> tuple[Float[Array, " n"], Inputs]:
    """|r| of the perturbation that DeepFool finds for every row, and the row with it, on the other side.

    Where it finds none in `steps` steps: +inf, and the row as it is.
    """
    own = jnp.argmax(log_p(x), axis=-1)

    def moved(r: Inputs) -> Inputs:
        return plus(x, jax.tree.map(lambda leaf: (1.0 + overshoot) * leaf, r))

    def active(state: tuple[Array, Inputs, Array, Array]) -> Array:
        step, _, searching, _ = state
        return (step < steps) & jnp.any(searching)

    def advance(state: tuple[Array, Inputs, Array, Array]) -> tuple[Array, Inputs, Array, Array]:
        step, r, searching, found = state
        distance, change, possible = boundary_step(log_p, moved(r), own)
        r = plus(r, times(jnp.where(searching & possible, 1.0, 0.0), change))
        crossed = jnp.argmax(log_p(moved(r)), axis=-1) != own
        found = found | (searching & possible & (crossed | (distance == 0)))
        return step + 1, r, searching & possible & ~found, found

    count = len(own)
    begin = jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, x), jnp.ones(count, bool), jnp.zeros(count, bool)
    _, r, _, found = jax.lax.while_loop(active, advance, begin)
    return jnp.where(found, norms(r), jnp.inf), plus(x, times(jnp.where(found, 1.0 + overshoot, 0.0), r))


@memoised
def deepfool(steps: int = 50, overshoot: float = 0.02, augment: bool = False) -> Acquisition:
    """The rows with the smallest perturbation that changes their class, by DeepFool (Ducoffe & Precioso 2018).

    Each step goes to the nearest boundary of the network linearised where it stands, min over classes k of
    |f_k - f_c| / |grad f_k - grad f_c| (Moosavi-Dezfooli et al. 2016, algorithm 2), until the class is no longer c, the
    row's own. `Acquired.scores` are -|r|, r the sum of the steps, Euclidean over all inputs of a row and in their unit:
    of a linear network the smallest margin over the norm of the difference of weights. -inf where `steps` steps do not
    change the class, or no class has a gradient: such rows come last.

    The function is the deterministic network, `Predictions.point`. Cost: C + 2 passes through the network a step, for
    the rows of a chunk together until the last of them has crossed (2 or 3 steps mostly); memory: three copies of a
    chunk, and its activations. Prefilter large pools, as the authors do (300 to 1 000 rows).

    Departures: as in the authors' code, and not in the paper, the class is read and the network linearised at
    x + (1 + overshoot) r, so that a row that lies on the boundary has crossed it; |r| is without the overshoot.

    With `augment` every acquired row brings its twin x + (1 + overshoot) r under the same label, as DFAL does: the twin
    costs no label, never enters the pool or a metric, and `info_generated` counts it. A row that cannot be moved is its
    own twin. Memory: a copy of all rows that are offered. ValueError for steps below 1, a negative overshoot, integer
    inputs, and a regression.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1")
    if not 0 <= overshoot < float("inf"):
        raise ValueError(f"overshoot={overshoot}: expected 0 or more, and finite")

    def summarise(round: Round, x: Inputs, rows: Array) -> Any:
        kinds = {leaf.dtype for leaf in jax.tree.leaves(x)}
        if wrong := [str(kind) for kind in kinds if not jnp.issubdtype(kind, jnp.floating)]:
            raise ValueError(f"deepfool moves inputs, and these are {wrong[0]}: expected floats, such as x / 255")

        def log_p(x: Inputs) -> Any:
            point = round.functions(x).point
            if point.ndim != 2:
                raise ValueError(f"deepfool needs `point` [n, C], log-probabilities of classes; it is {point.shape}")
            return point

        distance, twins = perturbed(log_p, x, steps, overshoot)
        return (-distance, twins) if augment else -distance

    def select(key: PRNGKey, round: Round, summary: Any, available: Array, batch_size: int) -> Acquired:
        scores, twins = summary
        found = select_best(key, round, scores, available, batch_size)
        of_batch = jax.tree.map(lambda leaf: leaf[found.indices], twins)
        return found._replace(info=found.info | {"twins": of_batch})

    return Acquisition(summarise, select if augment else select_best, twins=augment)
