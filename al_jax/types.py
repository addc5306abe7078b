"""The contracts: every posterior, score and acquisition is one of these tuples of pure functions.

Letters used throughout the package: N pool rows, n rows of a chunk, K posterior samples, C classes,
B batch size, D feature width, M slots of the labelled buffer, S seeds.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Shaped

PRNGKey: TypeAlias = Key[Array, ""]
Inputs: TypeAlias = PyTree[Shaped[Array | np.ndarray, "..."]]
"""Any pytree of arrays that share a leading row axis: images, or tokens with a mask."""
ScoreFn: TypeAlias = Callable[[Any], Float[Array, "..."]]
"""`log_probs [..., K, C] -> [...]`, for regression `GaussianPredictions -> [n]`: higher means label it sooner."""


class Labelled(NamedTuple):
    """Rows with labels, in a fixed-size buffer of M slots in the order they were acquired.

    Slots past `count` are padding and must never influence anything. `rows` are positions in the pool;
    -1 marks a row that never was in it (generated, adversarial): mask it before indexing.
    """

    inputs: Inputs  # [M, ...]
    labels: Shaped[Array, "M ..."]
    weights: Float[Array, " M"]
    rows: Int[Array, " M"]
    count: Int[Array, ""]  # type: ignore[assignment]  # the contract's name, over tuple.count


class Pool(NamedTuple):
    """The rows that may be labelled. It holds no labels, so that nothing can see one."""

    inputs: Inputs  # [N, ...]
    available: Bool[Array, " N"]


class Data(NamedTuple):
    """Everything that training or acquiring may see."""

    labelled: Labelled
    validation: Labelled | None = None
    pool: Pool | None = None  # None when the pool streams from the host
    round: Int[Array, ""] | None = None  # of the campaign, where there is one


class Predictions(NamedTuple):
    """What K posterior samples say about n rows.

    `point` (log-probabilities) and `features` come from ONE deterministic function (dropout off, weights at
    their mean, ensemble member 0), never from an average over draws. `features` is None when the network
    names none.
    """

    log_probs: Float[Array, "*n K C"]
    point: Float[Array, "*n C"]
    features: Float[Array, "n D"] | None = None
    extras: dict[str, Array] = {}  # noqa: RUF012  (never mutated)

    @property
    def samples(self) -> Float[Array, "*n K C"]:
        """What scores are computed from."""
        return self.log_probs

    def at_point(self) -> "Predictions":
        """The deterministic function as the only sample, K = 1."""
        return self._replace(log_probs=self.point[..., None, :])

    def joined(self, members: "Predictions") -> "Predictions":
        """These, with the samples `[M, n, ..., k, C] -> [n, ..., M k, C]` of all M `members`."""
        moved = jnp.moveaxis(members.log_probs, 0, -3)
        shape = *self.log_probs.shape[:-2], -1, self.log_probs.shape[-1]
        return self._replace(log_probs=moved.reshape(shape))


class GaussianPredictions(NamedTuple):
    """What K posterior samples say about n rows of a regression: the label is N(mean, variance), in its own units.

    `variance` is that of the noise: what is left when the function is known. `point` and `point_variance` come from the
    deterministic function, as `features` do; see `Predictions`.
    """

    mean: Float[Array, "n K"]
    variance: Float[Array, "n K"]
    point: Float[Array, " n"]
    point_variance: Float[Array, " n"]
    features: Float[Array, "n D"] | None = None
    extras: dict[str, Array] = {}  # noqa: RUF012  (never mutated)

    @property
    def samples(self) -> "GaussianPredictions":
        """What scores are computed from."""
        return self._replace(features=None, extras={})

    @property
    def log_probs(self) -> Array:
        """There are none: ValueError for an acquisition that reads class probabilities."""
        raise ValueError(
            "the acquisition reads log_probs, probabilities of classes, and this is a regression: take a score of "
            "al_jax.acquisitions.regression, epig with its information gain, core_set or random"
        )

    def at_point(self) -> "GaussianPredictions":
        """The deterministic function as the only sample, K = 1."""
        return self._replace(mean=self.point[:, None], variance=self.point_variance[:, None])

    def joined(self, members: "GaussianPredictions") -> "GaussianPredictions":
        """These, with the samples `[M, n, k] -> [n, M k]` of all M `members`."""
        mean, variance = (jnp.moveaxis(a, 0, 1).reshape(len(self.mean), -1) for a in (members.mean, members.variance))
        return self._replace(mean=mean, variance=variance)


class Likelihood(NamedTuple):
    """How outputs of a network meet labels.

    loss(outputs [n, ..., C], labels [n, ...]) -> [n]
    predictions(outputs [n, ..., K, C], point [n, ..., C], features, extras) -> Predictions or GaussianPredictions
    metrics(predictions, labels) -> dict of scalars, from the mean over samples
    marginal(predictions) -> predictions, as small as the metrics allow: of classes K = 1, the mean over samples
    outputs: how many the network must have; None: as many as there are classes
    """

    loss: Callable[[Array, Array], Array]
    predictions: Callable[..., Any]
    metrics: Callable[[Any, Array], dict[str, Array]]
    marginal: Callable[[Any], Any]
    outputs: int | None = None


class Posterior(NamedTuple):
    """An approximate posterior over functions.

    init(key, x [n, ...]) -> state            fresh; same structure and shapes as what `fit` returns
    fit(key, state, data) -> (state, info)    from `init`'s state: from scratch; from last round's: warm start.
                                              `data.labelled.count` may be traced, and 0: state unchanged, finite
    sample(key, state, num_samples) -> draws  opaque; each draw is ONE function over the whole input space
    predict(state, draws, x) -> predictions   the likelihood's; K >= num_samples, or all there are: read it off
    head(state, x, features [n, D]) -> outputs [n, C]     the last layer of the function that `point` and `features`
                                              come from, or None; rows like `x` are traced, not computed
    """

    init: Callable[[PRNGKey, Inputs], Any]
    fit: Callable[[PRNGKey, Any, Data], tuple[Any, dict[str, Array]]]
    sample: Callable[[PRNGKey, Any, int], Any]
    predict: Callable[[Any, Any, Inputs], Any]
    head: Callable[[Any, Inputs, Array], Array] | None = None


class Round(NamedTuple):
    """What an acquisition sees of the current round; `functions(x)` is differentiable in x.

    `head(features [n, D]) -> outputs [n, C]` is the last layer alone, without dropout; None where the posterior offers
    none. It raises ValueError for a network whose last layer is no function of its `features`.
    """

    key: PRNGKey
    functions: Callable[[Inputs], Any]  # -> the likelihood's predictions
    data: Data
    memory: Any = None
    context: Any = None
    head: Callable[[Array], Array] | None = None


class Acquired(NamedTuple):
    """B distinct positions in the summary; positions beyond the available ones score -inf."""

    indices: Int[Array, " B"]
    scores: Float[Array, " B"]
    info: dict[str, Array] = {}  # noqa: RUF012  (never mutated)


def nothing(*_: Any) -> None:
    """The `init` or `prepare` of an acquisition that needs none."""


class Acquisition(NamedTuple):
    """How a batch is chosen: a summary of every row, streamed in chunks, and a choice among the summaries.

    summarise(round, x [n, ...], rows [n]) -> summary, leading axis n. `rows` are pool rows: memory[rows], or
        a key per row by fold_in(round.key, row)
    select(key, round, summary, available bool [n], batch_size) -> Acquired. `available` may be a random subset of
        the unlabelled rows: "not available" does not mean "labelled" (those are in round.data.labelled)
    prepare(key, round) -> context             once per round
    init(key, pool) -> memory                  once per campaign; arrays given to a constructor enter here
    shortlist = (score, m)                     only the m best available rows are summarised and offered to `select`
    twins                                      whether `Acquired.info["twins"]` has a generated row `[B, ...]` for each
        row of the batch, which enters the labelled buffer under the same label as row -1
    """

    summarise: Callable[[Round, Inputs, Array], Any]
    select: Callable[[PRNGKey, Round, Any, Array, int], Acquired]
    prepare: Callable[[PRNGKey, Round], Any] = nothing
    init: Callable[[PRNGKey, Pool], Any] = nothing
    shortlist: tuple[ScoreFn, int] | None = None
    twins: bool = False


class Learned(NamedTuple):
    """What learning reports of a round: how the fit went, and the metrics of what it made."""

    fit: dict[str, Array]
    metrics: dict[str, Array]


class RoundInfo(NamedTuple):
    """What one `propose` reports. The metrics belong to `num_labelled`, before the batch in `rows`.

    Generated rows do not count as labelled; `info["generated"]` counts them where an acquisition makes some.
    """

    num_labelled: Int[Array, ""]
    metrics: dict[str, Array]
    fit: dict[str, Array]
    rows: Int[Array, " B"]
    scores: Float[Array, " B"]
    valid: Bool[Array, " B"]
    info: dict[str, Array]


class Cycle(NamedTuple):
    """One active-learning round as pure functions of static shapes.

    init(key, inputs [N, ...], rows [m], labels [m], available=None, values=None) -> state
    propose(state, inputs, validation, test) -> (state, RoundInfo)      learn, then choose
    absorb(state, inputs [B, ...], rows [B], labels [B], valid [B], excluded [B] = none, twins [B, ...] = none) -> state
        rows with valid = False (skipped, or beyond a short pool) stay in the pool, but for `excluded` ones, which leave
        it for good; a row that is taken brings its twin with it, under its label, as row -1
    Labelled, available and excluded rows partition the pool, always.

    `init` is start and remember, `propose` is learn and choose. Learning takes nearly all the time to compile, and
    knows no acquisition: compiled apart, it serves every acquisition of a comparison.
    """

    start: Callable[..., Any]  # (key, first [m, ...], rows [m], labels [m], available [N], values) -> state, no memory
    remember: Callable[..., Any]  # (key, available [N], inputs) -> the acquisition's memory
    learn: Callable[..., tuple[Any, Learned]]  # (state, inputs, validation, test): fit, evaluate
    choose: Callable[..., RoundInfo]  # (state, learned, inputs, validation): sample, prepare, score, select
    absorb: Callable[..., Any]

    def init(
        self,
        key: PRNGKey,
        inputs: Inputs,
        rows: Array,
        labels: Array,
        available: Array | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Any:
        """Begin with `rows [m]` labelled; `available` excludes further rows for good, `values` are swept numbers."""
        first = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], inputs)
        free = jnp.ones(len(jax.tree.leaves(inputs)[0]), bool) if available is None else available
        state = self.start(key, first, rows, labels, free, values or {})
        return state._replace(memory=self.remember(key, state.available, inputs))

    def propose(self, state: Any, inputs: Inputs, validation: Labelled | None, test: Labelled) -> tuple[Any, RoundInfo]:
        """Fit, evaluate on `test`, score the pool, select a batch. The state changes only in its fitted posterior."""
        state, learned = self.learn(state, inputs, validation, test)
        return state, self.choose(state, learned, inputs, validation)
