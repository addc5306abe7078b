"""Strong changes: affine maps as SciPy's, every operation within its bounds, rows changed each for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from al_jax.training import cutout, feature_dropout, noise, rand_augment
from al_jax.training.rand_augment import affine, geometric, strong_change, weak_change

KEY = jax.random.key(0)
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(1, 256, (32, 12, 10, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", range(7))
@pytest.mark.parametrize("size", [-1.0, 0.3, 1.0])
def test_affine_maps_are_scipy_s(kind, size):
    image = GENERATOR.uniform(1, 2, (12, 10, 2)).astype(np.float32)
    matrix, shift = (np.asarray(part) for part in geometric(jnp.asarray(kind), jnp.asarray(size)))
    found = np.asarray(affine(jnp.asarray(image), matrix, shift))
    centre = (np.array([12, 10]) - 1) / 2
    offset = centre - matrix @ centre + shift * np.array([12, 10])
    smallest = image.min()
    for channel in range(2):
        moved = ndimage.affine_transform(
            image[..., channel] - smallest, matrix, offset, order=1, mode="grid-constant", cval=0.0
        )
        np.testing.assert_allclose(found[..., channel], moved + smallest, atol=1e-4)


def test_what_the_operations_are():
    turn, none = geometric(jnp.asarray(2), jnp.asarray(1.0))
    np.testing.assert_allclose(turn, [[np.sqrt(0.75), -0.5], [0.5, np.sqrt(0.75)]], atol=1e-6)
    assert not np.any(none)
    for kind, expected in ((0, [0.2, 0]), (1, [0, 0.2])):
        same, moved = geometric(jnp.asarray(kind), jnp.asarray(1.0))
        np.testing.assert_array_equal(same, np.eye(2))
        np.testing.assert_allclose(moved, expected, atol=1e-6)
    for kind, expected in ((3, [[1, 0.3], [0, 1]]), (4, [[1, 0], [0.3, 1]])):
        np.testing.assert_allclose(geometric(jnp.asarray(kind), jnp.asarray(1.0))[0], expected, atol=1e-6)
    for kind in (5, 6):
        np.testing.assert_array_equal(geometric(jnp.asarray(kind), jnp.asarray(1.0))[0], np.eye(2))


def test_images_stay_images_and_each_is_changed_for_itself():
    changed = np.asarray(jax.jit(rand_augment())(KEY, IMAGES))
    assert changed.dtype == np.uint8
    assert changed.shape == IMAGES.shape
    assert changed.min() >= IMAGES.min()
    same = np.repeat(IMAGES[:1], 32, axis=0)
    many = np.asarray(rand_augment()(KEY, same))
    assert len({image.tobytes() for image in many}) > 25
    weak = np.asarray(rand_augment(strength=1e-6)(KEY, IMAGES)).astype(int)
    assert abs(weak - IMAGES).max() <= 1, "strength 0 changes nothing"


def test_contrast_and_brightness_alone_are_straight_lines():
    image = np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 10, 10, 1)
    slopes = []
    for seed in range(60):
        changed = np.asarray(rand_augment(1)(jax.random.key(seed), jnp.asarray(image))).ravel()
        inner = (changed > 0) & (changed < 1)
        fit = np.polyfit(image.ravel()[inner], changed[inner], 1)
        if np.allclose(np.polyval(fit, image.ravel()[inner]), changed[inner], atol=1e-4):
            slopes.append(fit)
    slopes = np.array(slopes)
    assert len(slopes) > 6
    assert (abs(slopes[:, 0] - 1) <= 0.5 + 1e-3).all()
    assert (abs(slopes[:, 0] - 1) > 0.05).any(), "contrast"
    assert (abs(slopes[:, 1]) > 0.05).any(), "brightness"


def test_cutout_hides_one_square_of_at_most_half_a_side():
    images = GENERATOR.uniform(1, 2, (64, 12, 12, 1)).astype(np.float32)
    hidden = np.asarray(cutout(0.5)(KEY, images)) != images
    for one, image, changed in zip(hidden[..., 0], images, np.asarray(cutout(0.5)(KEY, images)), strict=True):
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert max(len(rows), len(columns)) <= 7  # pixels whose centre lies within a square of side 6
        assert one[np.ix_(rows, columns)].all()
        if one.any():
            np.testing.assert_allclose(changed[one], image.mean(), rtol=1e-5)
    assert hidden.any(axis=(1, 2, 3)).mean() > 0.8


def test_noise_is_as_large_as_it_says_and_features_are_dropped_to_their_mean():
    rows = GENERATOR.normal(5, 2, (500, 20)).astype(np.float32)
    added = np.asarray(noise(0.3)(KEY, rows)) - rows
    assert added.std() == pytest.approx(0.3 * rows.std(), rel=0.05)
    dropped = np.asarray(feature_dropout(0.25)(KEY, rows))
    changed = dropped != rows
    assert changed.mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(dropped[changed], np.broadcast_to(rows.mean(0), rows.shape)[changed], rtol=1e-5)


def test_rows_of_no_kind_are_refused():
    for make in (weak_change, strong_change):
        for rows in (jnp.zeros((4, 7), jnp.int32), jnp.zeros((4, 7, 2)), {"tokens": jnp.zeros((4, 7))}):
            with pytest.raises(ValueError, match=r"no change by default but for images \[b, h, w, c\] and vectors"):
                make(rows)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rand_augment(0), "operations=0 must be at least 1"),
        (lambda: rand_augment(strength=0.0), "strength=0.0 positive"),
        (lambda: cutout(0.0), "share=0.0"),
        (lambda: noise(-1.0), "scale=-1.0"),
        (lambda: feature_dropout(1.0), "rate=1.0"),
    ],
)
def test_wrong_numbers_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
