"""Augmentation changes where pixels are, never what they are, and each image differently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.training.augmentation import chain, random_crop, random_flip

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(1, 256, (64, 6, 5, 3)).astype(np.uint8)


def test_a_crop_is_a_shift_with_zeros_and_every_shift_occurs():
    moved = np.asarray(jax.jit(random_crop(1))(KEY, IMAGES))
    assert moved.dtype == np.uint8
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [(i, j) for i in range(3) for j in range(3)]
    which = np.array(
        [[np.array_equal(moved[n], padded[n, i : i + 6, j : j + 5]) for i, j in shifts] for n in range(len(IMAGES))]
    )
    assert (which.sum(1) == 1).all()
    assert which.any(0).all()


def test_a_flip_mirrors_half_of_the_images():
    flipped = np.asarray(jax.jit(random_flip())(KEY, IMAGES))
    mirrored = np.array([np.array_equal(flipped[n], IMAGES[n, :, ::-1]) for n in range(len(IMAGES))])
    same = np.array([np.array_equal(flipped[n], IMAGES[n]) for n in range(len(IMAGES))])
    assert (mirrored ^ same).all()
    assert 15 < mirrored.sum() < 49


def test_a_chain_gives_each_step_a_key_of_its_own():
    def noise(key, images):
        return images + jax.random.uniform(key, images.shape)

    zeros = jnp.zeros((2, 3, 3, 1))
    both = chain(noise, noise)(KEY, zeros)
    first, second = (noise(key, zeros) for key in jax.random.split(KEY))
    np.testing.assert_allclose(both, first + second, rtol=1e-6)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("augmentation", [random_crop(), random_flip()])
def test_rows_that_are_no_images_are_refused(augmentation):
    with pytest.raises(ValueError, match=r"images \[b, h, w, c\]: .* \[4, 7\]"):
        augmentation(KEY, np.zeros((4, 7)))


def test_a_crop_needs_padding():
    with pytest.raises(ValueError, match="padding=0: expected at least 1"):
        random_crop(0)
