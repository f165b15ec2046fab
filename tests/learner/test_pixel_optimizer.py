"""PixelOptimizer: Adam in normalised units, with clipped and rounded pixels."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.learner.exemplar_pixels import PixelOptimizer
from bsce_keras.methods.base import PixelObjective
from bsce_keras.runtime.errors import DivergedError

IMAGE = ImageSpec(size=2, stored_size=5, channels=3, std=(0.2, 0.3, 0.5))
QUERIES = (np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int32))
RATE = 0.01
# Grey levels per channel of 0.01 normalised units.
MOVE = RATE * 255.0 * np.array(IMAGE.std)


def optimized(loss, images, num_updates=1, image=IMAGE):
    objective = PixelObjective(loss, RATE, 1, 0.2, 10)
    optimizer = PixelOptimizer(lambda x: tf.cast(x, tf.float32), objective, image)
    queries = iter([tuple(map(tf.constant, QUERIES))] * num_updates)
    changed = optimizer.optimized(images, np.zeros(len(images), np.int64), queries)
    optimizer.close()
    return changed


def darker(features, *_):
    return tf.reduce_sum(features)


def brighter(features, *_):
    return -tf.reduce_sum(features)


def images_of(value):
    return np.full((2, 5, 5, 3), value, np.uint8)


@pytest.mark.parametrize(("loss", "sign"), [(darker, -1), (brighter, 1)])
def test_first_updates_move_every_pixel_by_the_learning_rate(loss, sign):
    """With a constant gradient, Adam's direction has length 1."""
    for num_updates in (1, 3):
        changed = optimized(loss, images_of(100), num_updates)
        expected = np.rint(100 + sign * num_updates * MOVE)
        np.testing.assert_array_equal(
            changed[:, 1:3, 1:3],
            np.full_like(changed[:, 1:3, 1:3], expected.astype(np.uint8)),
        )


def test_moves_do_not_depend_on_the_scale_of_the_gradient():
    images = images_of(100)
    slight = optimized(lambda features, *_: 1e-9 * darker(features), images, 3)
    np.testing.assert_array_equal(slight, optimized(darker, images, 3))


def test_only_the_centre_crop_changes():
    changed = optimized(brighter, images_of(100)).astype(int) - 100
    seen = np.zeros((5, 5), bool)
    seen[1:3, 1:3] = True
    assert np.all(changed[:, seen] > 0)
    assert np.all(changed[:, ~seen] == 0)


def test_padding_is_not_optimised():
    image = ImageSpec(size=4, stored_size=4, pad=2, channels=3, std=IMAGE.std)
    images = np.full((1, 4, 4, 3), 100, np.uint8)
    shape = (None, 4, 4, 3)
    seen = []

    def loss(features, *_):
        assert features.shape.as_list() == list(shape)
        seen.append(True)
        return darker(features)

    objective = PixelObjective(loss, RATE, 1, 0.2, 10)
    optimizer = PixelOptimizer(lambda x: tf.cast(x, tf.float32), objective, image)
    batch = tf.zeros((1, 4, 4, 3), tf.uint8), tf.zeros(1, tf.int32)
    assert np.all(optimizer.optimized(images, np.zeros(1), iter([batch])) < 100)
    assert seen


@pytest.mark.parametrize(("loss", "end"), [(darker, 0), (brighter, 255)])
def test_pixels_stay_grey_values(loss, end):
    changed = optimized(loss, images_of(abs(end - 1)), num_updates=5)
    assert np.all(changed[:, 1:3, 1:3] == end)


def test_images_without_updates_keep_their_bytes():
    images = np.random.default_rng(1).integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(optimized(darker, images, 0), images)


def test_nan_gradient_of_one_pixel_ends_the_run():
    with pytest.raises(DivergedError, match="not finite"):
        optimized(lambda features, *_: features[0, 0, 0, 0] * np.nan, images_of(9))
