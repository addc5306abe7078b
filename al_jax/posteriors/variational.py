"""Mean-field variational inference over a network's weights (Bayes by backprop)."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.memo import memoised
from al_jax.models.forward import forward, forward_draws, forward_rows, in_dtype
from al_jax.models.layers import Gaussian, VariationalDense
from al_jax.posteriors.point import point, point_metrics
from al_jax.sweep import known
from al_jax.training import Apply, Training, train
from al_jax.types import Data, Inputs, Likelihood, Posterior, Predictions, PRNGKey


def is_gaussian(leaf: Any) -> bool:
    """Whether a node of the parameters is a `Gaussian`, to be treated as one leaf."""
    return isinstance(leaf, Gaussian)


def kl_divergence(params: Any, prior_std: float) -> Float[Array, ""]:
    """KL(q || N(0, prior_std^2)) in nats, closed form, summed over the `Gaussian` parameters; others have no prior."""

    def kl(q: Any) -> Array:
        if not is_gaussian(q):
            return jnp.zeros(())
        ratio = (jnp.square(q.std) + jnp.square(q.mean)) / prior_std**2
        return 0.5 * jnp.sum(ratio - 1.0) - jnp.sum(jnp.log(q.std / prior_std))

    return sum((kl(q) for q in jax.tree.leaves(params, is_leaf=is_gaussian)), jnp.zeros(()))


def draw_weights(key: PRNGKey, params: Any) -> Any:
    """One draw of all weights, as `forward_draws` takes it: a sample for every `Gaussian`'s mean, None for all else."""
    leaves, structure = jax.tree.flatten(params, is_leaf=is_gaussian)
    keys = jax.random.split(key, len(leaves))

    def draw(key: PRNGKey, leaf: Any) -> Any:
        if not is_gaussian(leaf):
            return None
        return Gaussian(leaf.mean + leaf.std * jax.random.normal(key, leaf.mean.shape, leaf.mean.dtype), None)

    return jax.tree.unflatten(structure, [draw(k, leaf) for k, leaf in zip(keys, leaves, strict=True)])


@memoised
def variational(
    module: Annotated[nn.Module, {"dropout": 0.0, "dense": VariationalDense, "last": VariationalDense}],
    likelihood: Likelihood,
    training: Training,
    *,
    prior_std: float = 1.0,
    temperature: float = 1.0,
) -> Posterior:
    """Minimise E_q[loss] + temperature * KL(q || prior) / count, the negative ELBO a row (Blundell et al. 2015).

    Args:
      module: a network with `VariationalDense` or `VariationalConv` layers; a few near the output will do, the
        parameters of other layers are point estimates.
      prior_std: of the zero-mean Gaussian prior over every variational weight.
      temperature: of the KL; 1 is the ELBO, and with few labels its posterior is close to the prior. Below 1 it is a
        cold posterior (Wenzel et al. 2020).

    `init` raises ValueError when `module` has no variational layer, and the constructor when a number is not positive.
    """
    if (known(prior_std) and prior_std <= 0) or (known(temperature) and temperature < 0):
        raise ValueError(f"prior_std={prior_std} must be positive, temperature={temperature} not negative")
    network = point(module, likelihood, training)
    trained = in_dtype(module, training.dtype)

    def init(key: PRNGKey, x: Inputs) -> Any:
        state = network.init(key, x)
        if not any(is_gaussian(leaf) for leaf in jax.tree.leaves(state, is_leaf=is_gaussian)):
            raise ValueError(
                f"module={type(module).__name__} has no variational layer: build it from VariationalDense or "
                "VariationalConv, for example MLP(..., dense=VariationalDense)"
            )
        return state

    def outputs(params: Any, key: PRNGKey | None, x: Inputs) -> Array:
        if key is None:
            return forward(trained, params, x).logits
        local, dropout = jax.random.split(key)
        return forward(trained, params, x, {"local": local, "dropout": dropout}).logits

    def penalty(params: Any, key: PRNGKey, count: Array) -> Array:
        return temperature * kl_divergence(params, prior_std) / jnp.maximum(count, 1)

    metrics = point_metrics(network.predict, likelihood)

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        return train(key, state, data, training, Apply(outputs, likelihood), metrics, penalty)

    def sample(key: PRNGKey, state: Any, num_samples: int) -> Any:
        return jax.vmap(draw_weights, in_axes=(0, None))(jax.random.split(key, num_samples), state)

    def predict(state: Any, draws: Any, x: Inputs) -> Predictions:
        logits = forward_draws(module, state, draws, x)
        return likelihood.predictions(logits, *forward_rows(module, state, x))

    return Posterior(init, fit, sample, predict, network.head)
