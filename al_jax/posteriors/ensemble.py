"""Ensembles of any posterior: of points a deep ensemble, of MC-dropout networks DEBAL."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from al_jax.memo import memoised
from al_jax.types import Data, Inputs, Posterior, PRNGKey

AXIS = "members"
"""The axis of a fit, over which members may see each other."""
SUMMARIES: dict[str, Callable[[Array], Array]] = {
    **dict.fromkeys(("r_hat", "r_hat_energy", "repeated", "prior_at_edge"), jnp.max),
    **dict.fromkeys(("divergences", "distinct"), jnp.sum),
}
"""What an ensemble reports of its members: of diagnostics the worst, of counts the sum, of all else the mean."""


@memoised
def ensemble(posterior: Posterior, members: int = 5) -> Posterior:
    """`members` independent copies of `posterior`, trained and evaluated by one `vmap`.

    `ensemble(point(...), 5)` is a deep ensemble (Lakshminarayanan et al. 2017; Beluch et al. 2018), and
    `ensemble(mc_dropout(...), 3)` is DEBAL (Pop & Fulop 2018). Every member gives ceil(num_samples / members) draws,
    or the one it has. `fit` reports means over members, of diagnostics the worst (`SUMMARIES`). `point`, `features` and
    `extras` are those of member 0. ValueError when members < 1.
    """
    if members < 1:
        raise ValueError(f"members={members}: expected at least 1")

    def init(key: PRNGKey, x: Inputs) -> Any:
        return jax.vmap(posterior.init, in_axes=(0, None))(jax.random.split(key, members), x)

    def fit(key: PRNGKey, state: Any, data: Data) -> tuple[Any, dict[str, Array]]:
        of_members = jax.vmap(posterior.fit, in_axes=(0, 0, None), axis_name=AXIS)
        state, info = of_members(jax.random.split(key, members), state, data)
        finite = info.pop("finite").all()
        return state, {**{name: SUMMARIES.get(name, jnp.mean)(value) for name, value in info.items()}, "finite": finite}

    def sample(key: PRNGKey, state: Any, num_samples: int) -> Any:
        a_member = -(-num_samples // members)
        return jax.vmap(posterior.sample, in_axes=(0, 0, None))(jax.random.split(key, members), state, a_member)

    def predict(state: Any, draws: Any, x: Inputs) -> Any:
        of_member = jax.vmap(posterior.predict, in_axes=(0, 0, None))(state, draws, x)
        first_state, first_draws = jax.tree.map(lambda leaf: leaf[0], (state, draws))
        return posterior.predict(first_state, first_draws, x).joined(of_member)

    def of_first(state: Any, x: Inputs, features: Array) -> Array:
        assert posterior.head is not None
        return posterior.head(jax.tree.map(lambda leaf: leaf[0], state), x, features)

    return Posterior(init, fit, sample, predict, None if posterior.head is None else of_first)
