"""Active Bayesian coresets: the rows whose weighted log-likelihoods sum to that of the whole pool (Frank-Wolfe)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from al_jax.acquisitions.toolbox.frank_wolfe import towards_the_sum
from al_jax.acquisitions.toolbox.reading import marginal_of
from al_jax.acquisitions.toolbox.representations import summarised
from al_jax.information import entropy, log_marginal
from al_jax.memo import memoised
from al_jax.types import Acquired, Acquisition, PRNGKey, Round


def expected_log_likelihoods(log_probs: Float[Array, "n K C"], centre: bool = False) -> Float[Array, "n K"]:
    """L_nk = sum_c p_c log p_k(c) + H[p], p the mean over draws; log-probabilities below -20 count as -20.

    With `centre`, less its mean over draws.
    """
    log_p = log_marginal(log_probs)
    values = jnp.einsum("nc,nkc->nk", jnp.exp(log_p), jnp.maximum(log_probs, -20.0), precision="highest")
    values += entropy(log_p)[:, None]
    return values - values.mean(axis=1, keepdims=True) if centre else values


@memoised
def acs_fw(centre: bool = False, stop_early: bool = False) -> Acquisition:
    """Frank-Wolfe towards the pool's expected log-likelihood, until B rows have weight (Pinsler et al. 2019, alg. 1).

    Every available row is L_n in R^K, one entry a draw: the expected log-likelihood of its unknown label. Each step
    goes towards the row with the largest <residual, L_n> / |L_n|, by their eq. 9, so far that |sum_n L_n - sum_n w_n
    L_n| is smallest. `Acquired.scores` are minus this distance when a row was chosen first, in nats.

    Args:
      centre: take the mean over draws from every L_n, which leaves the rows' effect on the posterior alone.
      stop_early: end after B steps, as the authors do, even if fewer rows have weight.

    The rest of a batch with fewer rows with weight (after 20 B steps, or of equal rows) is random, and scores -1e30.
    Memory: [N, K]; O(N K) a step. ValueError for a regression and for dense predictions.
    """

    def of(predictions: object) -> Float[Array, "n K"]:
        marginal_of(predictions, "acs_fw")  # refuses what has other axes
        return expected_log_likelihoods(predictions.log_probs, centre)  # type: ignore[attr-defined]

    def select(key: PRNGKey, round: Round, summary: Array, available: Array, batch_size: int) -> Acquired:
        return towards_the_sum(key, summary, available, batch_size, stop_early)

    return Acquisition(summarised(of), select)
