"""The generator written out draws JAX's own bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.testing import lowered
from al_jax.threefry import as_before, written_out

KEY = jax.random.key(2**31 + 5)
DRAWS = {
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 5))),
    "split of none": lambda key: jax.random.key_data(jax.random.split(key, 0)),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 2**32 - 1)),
    "folds of a split": lambda key: jax.random.key_data(
        jax.vmap(lambda k: jax.random.fold_in(jax.random.fold_in(k, 3), 7))(jax.random.split(key, 4))
    ),
    "a bit": lambda key: jax.random.bits(key),
    "bits": lambda key: jax.random.bits(key, (3, 41, 2)),
    "bytes": lambda key: jax.random.bits(key, (7,), "uint8"),
    "halves": lambda key: jax.random.bits(key, (7,), "uint16"),
    "no bits": lambda key: jax.random.bits(key, (0, 3)),
    "uniform": lambda key: jax.random.uniform(key, (5, 3)),
    "normal": lambda key: jax.random.normal(key, (1000,)),
    "permutation": lambda key: jax.random.permutation(key, 100),
    "categorical": lambda key: jax.random.categorical(key, jnp.arange(5.0), shape=(50,)),
    "gamma": lambda key: jax.random.gamma(key, 0.3, (20,)),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, lambda f: lambda k: jax.vmap(f)(k[None])[0]])
def test_the_bits_are_those_of_jax(name, transform):
    draw = DRAWS[name]
    np.testing.assert_array_equal(transform(lambda key: draw(written_out(key)))(KEY), draw(KEY))


def test_words_of_64_bits():
    with jax.enable_x64(True):
        draw = lambda key: jax.random.bits(key, (5,), "uint64")  # noqa: E731
        np.testing.assert_array_equal(draw(written_out(KEY)), draw(KEY))


def test_the_key_comes_back():
    there = written_out(KEY)
    assert written_out(there) is there
    np.testing.assert_array_equal(jax.random.key_data(as_before(there, KEY)), jax.random.key_data(KEY))
    assert jax.random.key_impl(as_before(there, KEY)) == jax.random.key_impl(KEY)


def test_keys_of_another_generator_and_another_way_of_counting_are_left_alone():
    other = jax.random.key(0, impl="rbg")
    assert written_out(other) is other
    with jax.threefry_partitionable(False):
        assert written_out(KEY) is KEY


def test_it_lowers_for_accelerators():
    lowered(lambda key: jax.random.normal(written_out(key), (8,)), KEY)
