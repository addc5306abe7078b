import numpy as np
import pytest

from al_jax import data


def test_two_moons_are_standardised_by_the_pool_and_balanced():
    moons = data.load("two_moons")
    np.testing.assert_allclose(moons.inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(moons.inputs.std(axis=0), 1, atol=1e-6)
    assert moons.inputs.dtype == np.float32
    assert (len(moons.labels), len(moons.test_labels), moons.num_classes) == (500, 1000, 2)
    assert 0.4 < moons.labels.mean() < 0.6
    assert abs(moons.test_inputs.mean()) < 0.1


def test_without_noise_each_moon_is_an_arc_and_the_nearest_neighbour_is_always_right():
    moons = data.two_moons(noise=0.0)
    distances = np.linalg.norm(moons.test_inputs[:, None] - moons.inputs[None], axis=-1)
    np.testing.assert_array_equal(moons.labels[distances.argmin(axis=1)], moons.test_labels)


def test_the_seed_decides_and_wrong_arguments_are_named():
    a, b, other = data.two_moons(seed=1), data.two_moons(seed=1), data.two_moons(seed=2)
    np.testing.assert_array_equal(a.inputs, b.inputs)
    assert (a.inputs != other.inputs).any()
    for argument, value in {"size": 1, "test_size": 0, "noise": -0.1}.items():
        with pytest.raises(ValueError, match=f"{argument}={value}: expected"):
            data.two_moons(**{argument: value})
