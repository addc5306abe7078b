import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import bald, entropy, multi_label

RNG = np.random.default_rng(0)
N, L, K = 4, 5, 3
LOGITS = 3 * RNG.normal(size=(N, L, K))
YES = 1 / (1 + np.exp(-LOGITS))
LOG_PROBS = jnp.asarray(np.stack([np.log(1 - YES), np.log(YES)], -1), jnp.float32)


def binary_entropy(p):
    return -sum(q * np.log(q) for q in (p, 1 - p) if q > 0)


@pytest.mark.parametrize(("by", "reduce"), [("sum", sum), ("max", max), ("mean", np.mean)])
def test_entropies_of_the_labels_are_summed_averaged_or_compared(by, reduce):
    expected = [reduce([binary_entropy(YES[i, j].mean()) for j in range(L)]) for i in range(N)]
    np.testing.assert_allclose(multi_label(entropy, by)(LOG_PROBS), expected, rtol=1e-5)


def test_mutual_informations_are_summed_label_by_label():
    expected = [
        sum(binary_entropy(YES[i, j].mean()) - np.mean([binary_entropy(p) for p in YES[i, j]]) for j in range(L))
        for i in range(N)
    ]
    np.testing.assert_allclose(multi_label(bald)(LOG_PROBS), expected, rtol=1e-4, atol=1e-6)


def test_certain_labels_are_legal_and_the_recipe_for_logits_is_right():
    z = jnp.asarray(LOGITS, jnp.float32)
    made = jnp.stack([jax.nn.log_sigmoid(-z), jax.nn.log_sigmoid(z)], -1)
    np.testing.assert_allclose(made, LOG_PROBS, rtol=1e-4, atol=1e-5)
    certain = jnp.stack([jnp.zeros((N, L, K)), jnp.full((N, L, K), -jnp.inf)], -1)
    np.testing.assert_array_equal(multi_label(entropy)(certain), np.zeros(N))


def test_labels_of_more_than_two_classes_and_other_reductions_are_refused():
    with pytest.raises(ValueError, match=r"expects \[n, L, K, 2\]"):
        multi_label(entropy)(jnp.zeros((N, L, K, 3)))
    with pytest.raises(ValueError, match="by="):
        multi_label(entropy, "all")
