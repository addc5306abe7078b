import jax
import jax.numpy as jnp
import pytest

from al_jax.acquisitions import cdal, egl, falcun, gradient_norm, per_class_quota, random
from al_jax.types import Predictions, Round

DENSE = jnp.log(jnp.full((2, 3, 4, 2), 0.5))
ROUND = Round(jax.random.key(0), lambda x: Predictions(DENSE, DENSE[..., 0, :], jnp.ones((2, 3))), None)


@pytest.mark.parametrize("method", [cdal, falcun, egl, gradient_norm, lambda: per_class_quota(random())])
def test_methods_of_one_label_a_row_refuse_more(method):
    with pytest.raises(ValueError, match=r"expects \[n, K, C\], one label a row"):
        method().summarise(ROUND, jnp.zeros((2, 1)), jnp.arange(2))
