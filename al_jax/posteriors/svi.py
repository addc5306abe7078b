"""Stochastic variational inference with numpyro's guides, over any parameters of any Flax module."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import optax
from jaxtyping import Array
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import SVI, TraceMeanField_ELBO, autoguide, init_to_value

from al_jax.memo import memoised
from al_jax.models.forward import completed, forward, forward_draws, forward_rows, in_dtype, init_params
from al_jax.models.last_layer import head
from al_jax.posteriors.point import point_metrics
from al_jax.posteriors.prior import Prior, as_prior, by_name, distributions, from_names, model
from al_jax.sweep import known
from al_jax.training import Apply, Training, train
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey

NEED_DATA = (
    autoguide.AutoLaplaceApproximation,
    autoguide.AutoDAIS,
    autoguide.AutoSemiDAIS,
)  # their draws depend on the likelihood, and `sample` is given no data


class State(NamedTuple):
    """The guide's parameters, unconstrained, and one row of zeros from which the network's shapes are found again."""

    guide: dict[str, Array]
    row: Inputs


class Guide(NamedTuple):
    """A guide that is primed: pure functions of its parameters."""

    start: dict[str, Array]
    draw: Callable[[Any, PRNGKey], Any]  # guide's parameters -> network's, None for those without a prior
    centre: Callable[[Any], Any]
    divergence: Callable[[Any, PRNGKey], Array]  # KL(guide || prior) in nats, estimated where it has no closed form


GUIDES: dict[str, Callable[..., autoguide.AutoGuide]] = {
    "normal": functools.partial(autoguide.AutoNormal, init_scale=0.01),
    "low_rank": functools.partial(autoguide.AutoLowRankMultivariateNormal, init_scale=0.01),
    "delta": autoguide.AutoDelta,
}


@memoised
def svi(
    module: Annotated[nn.Module, {"dropout": 0.0}],
    likelihood: Likelihood,
    training: Training,
    *,
    prior: float | Mapping[str, float] | Prior = 1.0,
    guide: Literal["normal", "low_rank", "delta"] | Callable[..., autoguide.AutoGuide] = "normal",
    temperature: float = 1.0,
) -> Posterior:
    """Minimise E_guide[loss] + temperature * KL(guide || prior) / count, the negative ELBO a row.

    Args:
      module: any Flax module `x -> outputs`; its dropout is off.
      prior: by parameter name, see `prior.Prior`; parameters without one are point estimates, so that
        `{"Dense_2/": Normal(0, 1)}` makes one layer Bayesian. A number is the standard deviation of a normal around 0.
      guide: `(model, init_loc_fn=...) -> AutoGuide`, such as numpyro's AutoNormal, AutoLowRankMultivariateNormal,
        AutoDelta, or a `functools.partial` of one. It starts at the network's initial parameters. "normal", "low_rank"
        and "delta" are these three, with standard deviations that start at 0.01.
      temperature: of the KL; 1 is the ELBO, below it is a cold posterior (Wenzel et al. 2020).

    A step draws the weights once for its minibatch; where the layers allow it (`variational`), local noise is less
    noisy. `init` raises ValueError for a prior that fits no parameter and a guide that cannot handle the parameters.
    """
    if known(temperature) and temperature < 0:
        raise ValueError(f"temperature={temperature}: expected 0 or more")
    if isinstance(guide, str) and guide not in GUIDES:
        raise ValueError(f"guide={guide!r}: expected {' or '.join(map(repr, GUIDES))}, or an autoguide of numpyro")
    chosen, priors = GUIDES[guide] if isinstance(guide, str) else guide, as_prior(prior)
    trained = in_dtype(module, training.dtype)

    def primed(key: PRNGKey, row: Inputs) -> Guide:
        # Autoguides keep what they have traced: a new one wherever one is needed.
        init_key, prime_key = jax.random.split(key)
        return prime(prime_key, init_params(module, init_key, row), priors, chosen)

    def init(key: PRNGKey, x: Inputs) -> State:
        row = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:1]), x)
        return State(primed(key, row).start, row)

    def predict(state: State, draws: Any, x: Inputs) -> Predictions:
        params = centre(state)
        logits = forward_draws(module, params, draws, x)
        return likelihood.predictions(logits, *forward_rows(module, params, x))

    def centre(state: State) -> Any:
        return primed(jax.random.key(0), state.row).centre(state.guide)

    def fit(key: PRNGKey, state: State, data: Data) -> tuple[State, dict[str, Array]]:
        built = primed(key, state.row)

        def outputs(params: Any, key: PRNGKey | None, x: Inputs) -> Array:
            centre = built.centre(params)
            drawn = centre if key is None else completed(built.draw(params, key), centre)
            return forward(trained, drawn, x).logits

        def penalty(params: Any, key: PRNGKey, count: Array) -> Array:
            return temperature * built.divergence(params, key) / jnp.maximum(count, 1)

        def predict_centre(params: Any, _: None, x: Inputs) -> Predictions:
            logits, *others = forward_rows(module, built.centre(params), x)
            return likelihood.predictions(logits[..., None, :], logits, *others)

        metrics = point_metrics(predict_centre, likelihood)
        params, info = train(key, state.guide, data, training, Apply(outputs, likelihood), metrics, penalty)
        return state._replace(guide=params), info

    def sample(key: PRNGKey, state: State, num_samples: int) -> Any:
        draw = primed(key, state.row).draw
        return jax.vmap(draw, in_axes=(None, 0))(state.guide, jax.random.split(key, num_samples))

    def of_centre(state: State, x: Inputs, features: Array) -> Array:
        return head(module, centre(state), x, features)

    return Posterior(init, fit, sample, predict, of_centre)


def prime(key: PRNGKey, params: Any, prior: Prior, guide: Callable[..., autoguide.AutoGuide]) -> Guide:
    """Build the guide for a network whose initial parameters are `params`.

    ValueError when the prior does not fit the network, or the guide not its parameters.
    """
    priors = distributions(prior, params)
    if not priors:
        raise ValueError("prior={}: expected a prior of at least one parameter; without any, take `point`")
    unbounded = {name: leaf for name, leaf in by_name(params).items() if _is_real(priors.get(name))}
    sites = model(priors, params)
    name = getattr(getattr(guide, "func", guide), "__name__", repr(guide))
    # Guides are classes of numpyro or the user's own, and say in any of these ways that parameters do not suit them.
    try:
        built = guide(sites, init_loc_fn=init_to_value(values=unbounded))
        if isinstance(built, NEED_DATA):
            raise ValueError("its draws need the labelled rows; for Laplace's approximation use `laplace`")
        elbo = TraceMeanField_ELBO()
        # numpyro asks for an optimizer here; `train` has its own
        inference = SVI(sites, built, optax.identity(), elbo)
        start = inference.optim.get_params(inference.init(key).optim_state)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"guide={name} cannot handle the parameters {', '.join(priors)}: {error}\n"
            "Choose a guide of numpyro.infer.autoguide for continuous parameters of any shape, such as AutoNormal"
        ) from error
    constrained: Callable[[Any], dict[str, Array]] = inference.constrain_fn

    def draw(of_guide: Any, key: PRNGKey) -> Any:
        values = constrained(of_guide)
        # The key that the ELBO gives to the guide: loss and KL of a step see the same draw.
        latent = handlers.seed(handlers.substitute(built, values), jax.random.split(key)[1])()
        return from_names({name: latent.get(name) for name in by_name(params)}, params)

    def centre(of_guide: Any) -> Any:
        values = constrained(of_guide)
        return from_names({**values, **built.median(values)}, params)

    def divergence(of_guide: Any, key: PRNGKey) -> Array:
        return elbo.loss(key, constrained(of_guide), sites, built)

    try:  # `AutoGuide.median` raises this unless a guide has one, which only calling it tells
        jax.eval_shape(centre, start)
    except NotImplementedError as error:
        raise ValueError(f"guide={name} has no median, which `point` and early stopping use: try AutoNormal") from error
    return Guide(start, draw, centre, divergence)


def _is_real(prior: dist.Distribution | None) -> bool:
    support = None if prior is None else prior.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real
