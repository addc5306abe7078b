"""The No-U-Turn sampler (Hoffman & Gelman 2014), for the last layer of a trained network or for a whole small one."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from al_jax.memo import memoised
from al_jax.mesh import one_by_one_on_cpu
from al_jax.models.forward import forward, forward_draws, forward_rows, init_params
from al_jax.models.last_layer import head, last_layer, replaced, stacked
from al_jax.posteriors.curvature import at_edge, fit_gaussian, negative_log_likelihood, whitened
from al_jax.posteriors.laplace import last_rows, predict_last
from al_jax.posteriors.point import point
from al_jax.posteriors.prior import Prior, as_prior, by_name, distributions, from_names, model
from al_jax.sweep import if_swept, known
from al_jax.training import Training
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey


class Chains(NamedTuple):
    """What the sampler leaves: positions `[chains, draws, ...]` and potential energies, divergences [chains, draws]."""

    positions: Any
    energies: Float[Array, "chains draws"]
    divergences: Float[Array, "chains draws"]
    steps: Float[Array, "chains draws"]
    acceptance: Float[Array, "chains draws"]  # probability


class State(NamedTuple):
    """A network (whose trunk all draws of the last layer share) and the draws, leading axis chains * draws."""

    params: Any
    draws: Any


@memoised
def nuts_last_layer(
    module: nn.Module,
    likelihood: Likelihood,
    training: Training,
    *,
    prior_std: float | None = 1.0,
    chains: int = 2,
    warmup: int = 100,
    draws: int = 50,
) -> Posterior:
    """Train the network, freeze its features, and sample its last layer.

    The chains start at draws of Laplace's approximation and move in coordinates that its Kronecker-factored curvature
    makes nearly spherical, so that a draw takes a few gradients. `point` is the network with the mean of the draws.

    Args:
      module: a network that ends in `flax.linen.Dense`; trained as by `point`, predicting without dropout.
      prior_std: of the zero-mean Gaussian prior over the last layer's weights, biases included; None maximises the
        marginal likelihood of Laplace's approximation in every fit.
      chains: how many; never more than chains * draws samples are given.
      warmup: iterations of a chain that are thrown away.
      draws: iterations after that, which are kept.

    `fit` reports `divergences`, `r_hat` (the largest split R-hat of a weight), `r_hat_energy` (that of the potential
    energy), `gradients` a draw, `acceptance` (a probability), `distinct` draws, the share of draws `repeated` from the
    one before, and of the prior what `laplace` does. Chains that never move have an R-hat of NaN. `init` raises
    ValueError when the network does not end in a dense layer.
    """
    if likelihood.outputs not in (None, 1):
        raise ValueError("likelihood: expected one that is convex in the outputs, and noise learned row by row is not")
    check_lengths(chains, warmup, draws)
    if prior_std is not None and known(prior_std) and not prior_std > 0:
        raise ValueError(f"prior_std={prior_std}: expected a positive number or None")
    network = point(module, likelihood, training)
    precision = None if prior_std is None else prior_std**-2.0

    def init(key: PRNGKey, x: Inputs) -> State:
        params = network.init(key, x)
        shape = stacked(params, last_layer(module, params, x)).shape
        noise = jax.random.normal(jax.random.fold_in(key, 1), (chains * draws, *shape))
        return State(params, noise * (1.0 if prior_std is None else prior_std))

    @one_by_one_on_cpu
    def sampled(key: PRNGKey, rows: Any, start: Array, swept: Any) -> tuple[Chains, Array]:
        gaussian, _ = fit_gaussian(likelihood, rows, start, "kron", precision if swept is None else swept)

        def potential(noise: Array) -> Array:
            weights = whitened(gaussian, noise)
            decay = 0.5 * gaussian.precision * jnp.sum(jnp.square(weights))
            return negative_log_likelihood(likelihood, rows, weights) + decay

        start_key, run_key = jax.random.split(key)
        starts = jax.random.normal(start_key, (chains, *start.shape))
        run = run_chains(run_key, potential, starts, warmup, draws, adapt_mass=False)
        each = jax.vmap(jax.vmap(functools.partial(whitened, gaussian)))
        return run._replace(positions=each(run.positions)), gaussian.precision

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        train_key, run_key = jax.random.split(key)
        params, info = network.fit(train_key, state.params, data)
        path, rows = last_rows(module, params, data.labelled)
        run, found = sampled(run_key, rows, stacked(params, path), if_swept(precision))
        weights = run.positions.reshape(-1, *run.positions.shape[2:])
        fitted = State(replaced(params, path, weights.mean(0)), weights)
        kept, report = keep(state, fitted, run, run.positions, data.labelled.count)
        report["finite"] &= info["finite"]
        of_prior = {"prior_std": jax.lax.rsqrt(found), "prior_at_edge": at_edge(found, precision, data.labelled.count)}
        return kept, info | report | of_prior

    def predict(state: State, chosen: Any, x: Inputs) -> Predictions:
        return predict_last(module, likelihood, state.params, chosen, x)

    return Posterior(init, fit, some_draws, predict, lambda state, x, features: head(module, state.params, x, features))


@memoised
def nuts(
    module: Annotated[nn.Module, {"dropout": 0.0}],
    likelihood: Likelihood,
    *,
    prior: float | Mapping[str, float] | Prior = 1.0,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 250,
    max_tree_depth: int = 10,
) -> Posterior:
    """Sample all parameters of a small network: the reference that approximations are measured against.

    The chains start at `module`'s initial parameters, drawn anew for each, or from the last draws of a warm start.
    Weights of a network have many modes that are the same function, so `r_hat` is that of the outputs for the labelled
    rows, not of the weights. `point` is the draw of the highest posterior density.

    Args:
      module: any Flax module `x -> outputs`; its dropout is off.
      prior: by parameter name, see `prior.Prior`; every parameter needs one. A number is the standard deviation of a
        normal around 0 for each.
      chains: as of `nuts_last_layer`.
      warmup: likewise.
      draws: likewise.
      max_tree_depth: a draw takes at most 2^max_tree_depth gradients.

    `fit` reports what `nuts_last_layer` does. `init` raises ValueError for a prior that fits no parameter, and when a
    parameter has none.
    """
    check_lengths(chains, warmup, draws)
    if max_tree_depth < 1:
        raise ValueError(f"max_tree_depth={max_tree_depth}: expected at least 1")
    chosen = as_prior(prior)

    def init(key: PRNGKey, x: Inputs) -> State:
        keys = jax.random.split(key, chains)
        params = jax.vmap(lambda key: init_params(module, key, x))(keys)
        first = jax.tree.map(lambda leaf: leaf[0], params)
        missing = sorted(set(by_name(first)) - set(distributions(chosen, first)))
        if missing:
            raise ValueError(f"no prior for {', '.join(missing)}: nuts samples every parameter")
        return State(first, jax.tree.map(lambda leaf: jnp.repeat(leaf, draws, axis=0), params))

    @one_by_one_on_cpu
    def sampled(key: PRNGKey, labelled: Any, state: State, swept: Prior | None) -> tuple[Chains, Array]:
        known = jnp.arange(len(labelled.rows)) < labelled.count
        places = jnp.where(known, jnp.arange(len(known)), 0)
        inputs, labels = jax.tree.map(lambda leaf: jnp.asarray(leaf)[places], (labelled.inputs, labelled.labels))
        sites = model(distributions(chosen if swept is None else swept, state.params), state.params)

        def network(position: dict[str, Array]) -> Any:
            return from_names(constrain_fn(sites, (), {}, position), state.params)

        def potential(position: dict[str, Array]) -> Array:
            losses = likelihood.loss(forward(module, network(position), inputs).logits, labels)
            data_term = jnp.sum(jnp.where(known, losses * labelled.weights, 0.0))
            return potential_energy(sites, (), {}, position) + data_term

        with jax.default_matmul_precision("highest"):
            last = jax.tree.map(lambda leaf: leaf.reshape(chains, draws, *leaf.shape[1:])[:, -1], state.draws)
            starts = jax.vmap(lambda params: unconstrain_fn(sites, (), {}, by_name(params)))(last)
            run = run_chains(key, potential, starts, warmup, draws, max_tree_depth=max_tree_depth)
            run = run._replace(positions=jax.vmap(jax.vmap(network))(run.positions))
            outputs = jax.vmap(jax.lax.map, in_axes=(None, 0))(
                lambda params: forward(module, params, inputs).logits, run.positions
            )
        return run, outputs

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        run, outputs = sampled(key, jax.tree.map(jnp.asarray, data.labelled), state, if_swept(chosen))
        flat = jax.tree.map(lambda leaf: leaf.reshape(chains * draws, *leaf.shape[2:]), run.positions)
        best = jnp.argmin(run.energies.reshape(-1))
        fitted = State(jax.tree.map(lambda leaf: leaf[best], flat), flat)
        return keep(state, fitted, run, outputs, data.labelled.count)

    def predict(state: State, some: Any, x: Inputs) -> Predictions:
        logits = forward_draws(module, state.params, some, x)
        return likelihood.predictions(logits, *forward_rows(module, state.params, x))

    return Posterior(init, fit, some_draws, predict, lambda state, x, features: head(module, state.params, x, features))


def run_chains(
    key: PRNGKey,
    potential: Callable[[Any], Array],
    starts: Any,
    warmup: int,
    draws: int,
    *,
    adapt_mass: bool = True,
    max_tree_depth: int = 10,
) -> Chains:
    """numpyro's NUTS from `starts`, leading axis chains, side by side; all in one program."""

    def chain(key: PRNGKey, start: Any) -> Chains:
        begin, step = hmc(jax.jit(potential), algo="NUTS")
        state = begin(
            start, warmup, step_size=0.1, adapt_mass_matrix=adapt_mass, max_tree_depth=max_tree_depth, rng_key=key
        )

        def draw(state: Any, _: None) -> tuple[Any, Chains]:
            state = step(state)
            return state, Chains(state.z, state.potential_energy, state.diverging, state.num_steps, state.accept_prob)

        # One loop, not two: the sampler is a large program, and takes seconds to trace and to compile.
        found = jax.lax.scan(draw, state, length=warmup + draws)[1]
        return jax.tree.map(lambda leaf: leaf[warmup:], found)

    return jax.vmap(chain)(jax.random.split(key, len(jax.tree.leaves(starts)[0])), starts)


def split_r_hat(values: Float[Array, "chains draws ..."]) -> Float[Array, "..."]:
    """Split R-hat (Gelman et al. 2013, section 11.4): 1 when the halves of all chains agree; NaN for a constant."""
    half = values.shape[1] // 2
    halves = jnp.concatenate([values[:, :half], values[:, -half:]])
    within = halves.var(axis=1, ddof=1).mean(0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    return jnp.sqrt((half - 1) / half + between / within)


def repeats(positions: Any) -> Bool[Array, "chains draws-1"]:
    """Which draws equal the draw before, in every parameter."""

    def same(leaf: Float[Array, "chains draws ..."]) -> Bool[Array, "chains draws-1"]:
        return (leaf[:, 1:] == leaf[:, :-1]).all(axis=tuple(range(2, leaf.ndim)))

    return jnp.stack([same(leaf) for leaf in jax.tree.leaves(positions)]).all(0)


def keep(old: State, new: State, run: Chains, values: Array, count: Array) -> tuple[State, dict[str, Array]]:
    """The new state, or the old one while nothing is labelled, and the report with the largest R-hat of `values`.

    Values that are constant in all chains, such as an output that no weight reaches, are left out of it; where all are,
    and where nothing is labelled, it is NaN.
    """
    some = count > 0
    repeated = repeats(run.positions)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((new.draws, run.energies))]).all()
    return jax.tree.map(lambda n, o: jnp.where(some, n, o), new, old), {
        "divergences": jnp.where(some, jnp.sum(run.divergences), 0),
        "r_hat": jnp.where(some, jnp.nanmax(split_r_hat(values)), jnp.nan),
        "r_hat_energy": jnp.where(some, split_r_hat(run.energies), jnp.nan),
        "acceptance": jnp.where(some, run.acceptance.mean(), jnp.nan),
        "distinct": jnp.where(some, run.energies.size - repeated.sum(), 0),
        "repeated": jnp.where(some, repeated.mean(), 0.0),
        "gradients": jnp.where(some, run.steps.mean(), 0.0),
        "finite": finite | ~some,
    }


def some_draws(key: PRNGKey, state: State, num_samples: int) -> Any:
    """`num_samples` different draws of the state, or all there are."""
    total = len(jax.tree.leaves(state.draws)[0])
    chosen = jax.random.permutation(key, total)[:num_samples]
    return jax.tree.map(lambda leaf: leaf[chosen], state.draws)


def check_lengths(chains: int, warmup: int, draws: int) -> None:
    """ValueError unless the chains are long enough for split R-hat."""
    for name, value, low in (("chains", chains, 1), ("warmup", warmup, 1), ("draws", draws, 4)):
        if value < low:
            raise ValueError(f"{name}={value}: expected at least {low}")
