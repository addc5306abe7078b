"""Priors over a network's parameters, by parameter name, as a numpyro model."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

from al_jax.models.layers import Gaussian
from al_jax.sweep import known

Prior: TypeAlias = dist.Distribution | Mapping[str, dist.Distribution]
"""One distribution for every parameter, or one for all whose path (such as `Dense_0/kernel`) the key matches: a regular
expression, searched; the first key that matches counts. Parameters that no key matches have no prior."""


def as_prior(prior: float | Mapping[str, float] | Prior) -> Prior:
    """The prior in which a number stands for a normal distribution around 0 of that standard deviation.

    ValueError unless the number is positive and finite.
    """

    def one(value: float | dist.Distribution) -> dist.Distribution:
        if isinstance(value, dist.Distribution):
            return value
        if known(value) and not 0 < value < math.inf:
            raise ValueError(f"prior={value}: expected a positive standard deviation, or a distribution")
        return dist.Normal(0.0, float(value) if known(value) else value)

    return {name: one(value) for name, value in prior.items()} if isinstance(prior, Mapping) else one(prior)


def by_name(params: Any) -> dict[str, Array]:
    """The parameters of a network by their path, such as `Dense_0/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def from_names(values: Mapping[str, Array], params: Any) -> Any:
    """The inverse of `by_name`, for a network whose parameters look like `params`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: values[jax.tree_util.keystr(path, simple=True, separator="/")], params
    )


def distributions(prior: Prior, params: Any) -> dict[str, dist.Distribution]:
    """The prior of every parameter that has one, of that parameter's shape.

    ValueError when a key is no regular expression or matches no parameter, when a prior is discrete, and for a network
    with variational layers.
    """
    if any(isinstance(leaf, Gaussian) for leaf in jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, Gaussian))):
        raise ValueError("the network has variational layers, which have their own posterior: use flax.linen.Dense")
    named, keys = by_name(params), prior if isinstance(prior, Mapping) else {"": prior}
    for key in keys:
        try:
            re.compile(key)
        except re.error as error:
            raise ValueError(f"prior for {key!r}: expected a regular expression ({error})") from error
        if not any(re.search(key, name) for name in named):
            raise ValueError(f"prior for {key!r}: the network has no such parameter, only {', '.join(named)}")
    found = {}
    for name, leaf in named.items():
        key = next((key for key in keys if re.search(key, name)), None)
        if key is None:
            continue
        if keys[key].support.is_discrete:
            raise ValueError(f"prior for {name}: {type(keys[key]).__name__} is discrete; expected a continuous one")
        found[name] = keys[key].expand(leaf.shape[: leaf.ndim - keys[key].event_dim]).to_event()
    return found


def model(priors: Mapping[str, dist.Distribution], params: Any) -> Callable[[], None]:
    """A numpyro model of the parameters alone: a sample site for each with a prior, the others are to be optimised.

    `numpyro.contrib.module.random_flax_module` makes the same sites, initialises the network anew whenever the model is
    traced, and knows no switch between training and prediction; here the likelihood stays with `forward`.
    """

    def sites() -> None:
        for name, leaf in by_name(params).items():
            if name in priors:
                numpyro.sample(name, priors[name])
            else:
                numpyro.param(name, leaf)

    return sites
