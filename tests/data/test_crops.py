"""Crops and flips equal an image-by-image reference."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.crops import (
    centre_crops,
    draw_crops,
    gather_crops,
    gather_views,
    resize_crops,
    training_crops,
)
from bsce_keras.runtime.errors import RequestError

SPECS = {
    "padded": ImageSpec(size=8, stored_size=8, pad=4),
    "cropped": ImageSpec(size=5, stored_size=8, channels=1),
    "both": ImageSpec(size=7, stored_size=8, pad=2, channels=4),
    "neither": ImageSpec(size=8, stored_size=8),
}
RESIZED = ImageSpec(size=224, stored_size=256, training_crop="resized")
SMALL = ImageSpec(size=7, stored_size=20, training_crop="resized")


def random_images(image, num_images=6):
    side = image.stored_size
    shape = (num_images, side, side, image.channels)
    # Values start at 1, so that only padding is black.
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def crop_one(picture, crop, image):
    top, left, height, width, mirrored = crop
    assert height == width == image.size
    padding = ((image.pad, image.pad), (image.pad, image.pad), (0, 0))
    padded = np.pad(picture, padding)
    taken = padded[top : top + image.size, left : left + image.size]
    return taken[:, ::-1] if mirrored else taken


@pytest.mark.parametrize("image", SPECS.values(), ids=SPECS)
def test_a_batch_equals_padding_cropping_and_flipping_one_by_one(image):
    images = random_images(image)
    rng = np.random.default_rng(1)
    indices = rng.integers(0, len(images), 40)
    crops = draw_crops(rng, 40, image)
    outputs = gather_crops(images, indices, crops, image).numpy()
    expected = [
        crop_one(images[index], crop, image)
        for index, crop in zip(indices, crops, strict=True)
    ]
    assert outputs.dtype == np.uint8
    np.testing.assert_array_equal(outputs, expected)


def test_padding_is_black_and_flips_mirror_left_and_right():
    image = ImageSpec(size=2, stored_size=2, pad=1, channels=1)
    picture = np.array([[[[10], [20]], [[30], [40]]]], np.uint8)
    crops = np.array([[0, 1, 2, 2, 0], [1, 1, 2, 2, 1], [0, 0, 2, 2, 1]], np.int32)
    outputs = gather_crops(picture, [0, 0, 0], crops, image)[..., 0]
    np.testing.assert_array_equal(
        outputs, [[[0, 0], [10, 20]], [[20, 10], [40, 30]], [[0, 0], [10, 0]]]
    )


@pytest.mark.parametrize("image", SPECS.values(), ids=SPECS)
def test_crops_are_drawn_at_all_positions_within_the_image(image):
    crops = draw_crops(np.random.default_rng(0), 2000, image)
    span = image.stored_size + 2 * image.pad - image.size + 1
    for corner in crops[:, 0], crops[:, 1]:
        assert np.unique(corner).tolist() == list(range(span))
    assert 900 < crops[:, 4].sum() < 1100


@pytest.mark.parametrize(
    "image",
    [
        ImageSpec(size=8, stored_size=8, pad=1, flip=False),
        ImageSpec(size=8, stored_size=9, flip=False, training_crop="resized"),
        ImageSpec(size=8, stored_size=9, flip=False, training_crop="centre"),
    ],
)
def test_images_are_not_flipped_if_the_spec_forbids_it(image):
    assert not draw_crops(np.random.default_rng(0), 100, image)[:, 4].any()


def test_centre_crop_takes_the_middle():
    image = SPECS["cropped"]
    images = random_images(image)
    outputs = gather_crops(images, np.arange(6), centre_crops(6, image), image)
    np.testing.assert_array_equal(outputs, images[:, 1:6, 1:6])


def test_training_on_the_centre_mirrors_every_second_image():
    image = ImageSpec(size=5, stored_size=8, training_crop="centre")
    crops = draw_crops(np.random.default_rng(0), 2000, image)
    np.testing.assert_array_equal(crops[:, :4], centre_crops(2000, image)[:, :4])
    assert 900 < crops[:, 4].sum() < 1100


def test_features_of_the_mirror_image_stand_for_mirrored_crops():
    features = np.arange(12.0).reshape(3, 2, 2)
    crops = np.array([[0, 0, 8, 8, 1], [0, 0, 8, 8, 0]], np.int32)
    found = gather_views(features, tf.constant([2, 0]), crops)
    np.testing.assert_array_equal(found, [features[2, 1], features[0, 0]])


@pytest.mark.parametrize("name", ["padded", "neither"])
def test_the_centre_of_a_padded_image_is_the_image(name):
    image = SPECS[name]
    images = random_images(image)
    outputs = gather_crops(images, np.arange(6), centre_crops(6, image), image)
    np.testing.assert_array_equal(outputs, images)


# Resized crops.


def boxes(num_images=20_000, seed=0):
    """Columns of a table of resized crops, as floats."""
    crops = draw_crops(np.random.default_rng(seed), num_images, RESIZED)
    return crops.astype(float).T


def test_resized_crops_cover_8_to_100_percent_of_the_square():
    """Every box below 3/4 fits, so shares of area are uniform from .08 to .75."""
    _, _, height, width, _ = boxes()
    area = height * width / 256**2
    # Tolerance of rounded sides: half a pixel of 63, the shortest side.
    assert 0.08 * 0.985 < area.min() < 0.082
    assert 0.99 < area.max() <= 1.0
    quarters = np.quantile(area[area < 0.75], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quarters, [0.2475, 0.415, 0.5825], atol=0.015)


def test_resized_crops_have_log_uniform_aspects_of_3_4_to_4_3():
    _, _, height, width, _ = boxes()
    assert 3 / 4 * 0.985 < (width / height).min() < 0.76
    assert 1.32 < (width / height).max() < 4 / 3 * 1.015
    # Only boxes that fit at every aspect, because other boxes are drawn again.
    small = height * width < 0.7 * 256**2
    quarters = np.quantile(np.log((width / height)[small]), [0.25, 0.5, 0.75])
    expected = np.log(4 / 3) * np.array([-0.5, 0.0, 0.5])
    np.testing.assert_allclose(quarters, expected, atol=0.015)


def test_a_resized_crop_that_does_not_fit_is_drawn_again():
    """One box in seven does not fit. After ten attempts, all but 1e-8 do."""
    _, _, height, width, _ = boxes()
    assert np.mean((height == 256) & (width == 256)) < 1e-3


def test_resized_crops_lie_anywhere_within_the_square():
    top, left, height, width, mirrored = boxes()
    for start, length in ((top, height), (left, width)):
        assert start.min() == 0
        assert (start + length).max() == 256
        room = 256 - length
        share = start[room > 50] / room[room > 50]
        assert share.mean() == pytest.approx(0.5, abs=0.015)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.02)


def test_equal_seeds_draw_equal_resized_crops():
    np.testing.assert_array_equal(boxes(50, seed=3), boxes(50, seed=3))
    assert not np.array_equal(boxes(50, seed=3), boxes(50, seed=4))


@pytest.mark.parametrize("image", [RESIZED, SMALL], ids=["224 of 256", "7 of 20"])
def test_resized_crops_equal_resizing_each_box_by_tensorflow(image):
    """Values may differ by one grey level because of rounding."""
    images = random_images(image, num_images=3)
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 3, 12)
    crops = draw_crops(rng, 12, image)
    outputs = training_crops(images, indices, crops, image).numpy()
    assert outputs.dtype == np.uint8
    for output, index, crop in zip(outputs, indices, crops, strict=True):
        top, left, height, width, mirrored = crop
        box = images[index, top : top + height, left : left + width]
        size = (image.size, image.size)
        expected = np.rint(tf.image.resize(box, size, antialias=True).numpy())
        expected = expected[:, ::-1] if mirrored else expected
        np.testing.assert_allclose(output, expected, atol=1)
        assert np.mean(output != expected) < 0.01


def test_a_box_of_the_whole_image_gives_the_resized_image():
    """4 pixels to 2: the first output weighs them 3 : 3 : 1 : 0."""
    image = ImageSpec(size=2, stored_size=4, channels=1, training_crop="resized")
    row = np.array([0, 70, 140, 210], np.uint8)
    picture = np.tile(row[np.newaxis, np.newaxis, :, np.newaxis], (1, 4, 1, 1))
    crops = np.array([[0, 0, 4, 4, 0], [0, 0, 4, 4, 1]], np.int32)
    outputs = resize_crops(picture, [0, 0], crops, image)[..., 0]
    # (3 * 0 + 3 * 70 + 1 * 140) / 7 = 50, and 210 - 50.
    np.testing.assert_array_equal(outputs[0], [[50, 160]] * 2)
    np.testing.assert_array_equal(outputs[1], [[160, 50]] * 2)


def test_a_box_of_the_final_size_is_cut_without_resizing():
    image = ImageSpec(size=5, stored_size=8, training_crop="resized")
    images = random_images(image)
    crops = np.array([[2, 3, 5, 5, 0], [0, 1, 5, 5, 1]], np.int32)
    outputs = resize_crops(images, [4, 1], crops, image)
    np.testing.assert_array_equal(outputs[0], images[4, 2:7, 3:8])
    np.testing.assert_array_equal(outputs[1], images[1, 0:5, 1:6][:, ::-1])


def test_resized_crop_ignores_pixels_outside_the_box():
    image = ImageSpec(size=6, stored_size=8, channels=1, training_crop="resized")
    picture = np.zeros((1, 8, 8, 1), np.uint8)
    picture[:, 2:5, 1:5] = 200
    crops = np.array([[2, 1, 3, 4, 0]], np.int32)
    assert np.all(resize_crops(picture, [0], crops, image) == 200)


def test_evaluation_crop_of_a_resized_spec_is_the_unscaled_centre():
    images = random_images(RESIZED, num_images=2)
    crops = centre_crops(2, RESIZED)
    outputs = gather_crops(images, np.arange(2), crops, RESIZED)
    np.testing.assert_array_equal(outputs, images[:, 16:240, 16:240])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training_crop": "middle"}, "training_crop must be one of pad, resized"),
        ({"training_crop": "resized", "pad": 4}, "without padding. Received: pad=4"),
    ],
)
def test_impossible_training_crop_is_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        ImageSpec(size=8, stored_size=8, **fields)
