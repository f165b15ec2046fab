"""Crops and flips equal an image-by-image reference."""

import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.data.crops import centre_crops, draw_crops, gather_crops

SPECS = {
    "padded": ImageSpec(size=8, stored_size=8, pad=4),
    "cropped": ImageSpec(size=5, stored_size=8, channels=1),
    "both": ImageSpec(size=7, stored_size=8, pad=2, channels=4),
    "neither": ImageSpec(size=8, stored_size=8),
}


def random_images(image, num_images=6):
    side = image.stored_size
    shape = (num_images, side, side, image.channels)
    # From 1 on, so that black is padding and nothing else.
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def crop_one(picture, crop, image):
    top, left, mirrored = crop
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
    crops = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 1]], np.int32)
    outputs = gather_crops(picture, [0, 0, 0], crops, image)[..., 0]
    np.testing.assert_array_equal(
        outputs, [[[0, 0], [10, 20]], [[20, 10], [40, 30]], [[0, 0], [10, 0]]]
    )


@pytest.mark.parametrize("image", SPECS.values(), ids=SPECS)
def test_all_positions_are_drawn_and_none_beyond(image):
    crops = draw_crops(np.random.default_rng(0), 2000, image)
    span = image.stored_size + 2 * image.pad - image.size + 1
    for corner in crops[:, 0], crops[:, 1]:
        assert np.unique(corner).tolist() == list(range(span))
    assert 900 < crops[:, 2].sum() < 1100


def test_images_are_not_flipped_where_the_spec_forbids_it():
    image = ImageSpec(size=8, stored_size=8, pad=1, flip=False)
    assert not draw_crops(np.random.default_rng(0), 100, image)[:, 2].any()


def test_centre_crop_takes_the_middle():
    image = SPECS["cropped"]
    images = random_images(image)
    outputs = gather_crops(images, np.arange(6), centre_crops(6, image), image)
    np.testing.assert_array_equal(outputs, images[:, 1:6, 1:6])


@pytest.mark.parametrize("name", ["padded", "neither"])
def test_the_centre_of_a_padded_image_is_the_image(name):
    image = SPECS[name]
    images = random_images(image)
    outputs = gather_crops(images, np.arange(6), centre_crops(6, image), image)
    np.testing.assert_array_equal(outputs, images)
