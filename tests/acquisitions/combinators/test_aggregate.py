import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import aggregate, bald, entropy, top_k
from al_jax.types import Predictions, Round

RNG = np.random.default_rng(0)
PIXELS = np.log(RNG.dirichlet(np.ones(4), (3, 5, 2, 6)))  # n, H, W, K, C


def pixel_entropy(log_probs):
    p = np.exp(log_probs).mean(0)
    return -sum(q * np.log(q) for q in p if q > 0)


@pytest.mark.parametrize(("by", "reduce"), [("mean", np.mean), ("max", max), ("sum", sum)])
def test_a_row_is_the_mean_largest_or_sum_of_its_pixels(by, reduce):
    expected = [reduce([pixel_entropy(image[h, w]) for h in range(5) for w in range(2)]) for image in PIXELS]
    np.testing.assert_allclose(aggregate(entropy, by)(jnp.asarray(PIXELS, jnp.float32)), expected, rtol=1e-5)


def test_of_one_prediction_a_row_it_is_the_score():
    flat = jnp.asarray(PIXELS[:, 0, 0], jnp.float32)
    np.testing.assert_array_equal(aggregate(bald, "sum")(flat), bald(flat))


def test_it_lifts_to_an_acquisition_of_images():
    def functions(x):
        return Predictions(x, x[..., 0, :])

    summary = top_k(aggregate(bald, "max")).summarise(
        Round(jax.random.key(0), functions, None), jnp.asarray(PIXELS, jnp.float32), jnp.arange(3)
    )
    np.testing.assert_allclose(summary, np.asarray(bald(jnp.asarray(PIXELS, jnp.float32))).max((1, 2)), rtol=1e-5)


def test_another_reduction_is_refused_and_equal_ones_are_one_object():
    with pytest.raises(ValueError, match="by='median'"):
        aggregate(bald, "median")
    assert aggregate(bald, "max") is aggregate(bald, by="max")
