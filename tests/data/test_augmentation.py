"""Operations have values worked by hand or of Pillow, and depend only on their key."""

import collections
import dataclasses

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.data import image_operations as ops
from bsce_keras.data import pipeline
from bsce_keras.data.augmentation import (
    NUM_TRIVIAL,
    OPERATIONS,
    augmented,
    draw_operations,
)
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.data.stored_images import ImageFile, StoredImages
from bsce_keras.records.protocol import outcome_differences, protocol
from bsce_keras.reports.paper_results import published_scores
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.randomness import Purpose, generator

SPECS = {
    name: ImageSpec(size=32, stored_size=32, pad=4, augmentation=name)
    for name in ("crop_flip", "trivial", "autoaugment_cutout")
}
DRAWN = pytest.mark.parametrize("name", ["trivial", "autoaugment_cutout"])


def floats(values):
    return tf.constant(values, tf.float32)


def changed(operation, picture, strength):
    """One grey picture, changed: a list of rows."""
    images = np.array(picture, np.uint8)[np.newaxis, ..., np.newaxis]
    outputs = operation(tf.constant(images), floats([strength]))
    return outputs.numpy()[0, ..., 0].tolist()


def random_images(num_images=20, size=32, channels=3, seed=0):
    shape = (num_images, size, size, channels)
    # A narrow range leaves room for stretching and spreading.
    return np.random.default_rng(seed).integers(30, 200, shape, dtype=np.uint8)


BLOCK = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


@pytest.mark.parametrize(
    ("operation", "picture", "strength", "expected"),
    [
        (ops.identity, BLOCK, 5, BLOCK),
        # Row 0 moves by half a pixel, row 1 by one and a half, row 2 by two and a half.
        (ops.shear_x, BLOCK, 1, [[15, 25, 15], [55, 30, 0], [45, 0, 0]]),
        (ops.shear_y, BLOCK, 1, [[25, 65, 45], [55, 40, 0], [35, 0, 0]]),
        (ops.translate_x, BLOCK, 1, [[0, 10, 20], [0, 40, 50], [0, 70, 80]]),
        (ops.translate_x, BLOCK, -2, [[30, 0, 0], [60, 0, 0], [90, 0, 0]]),
        (ops.translate_y, BLOCK, 1, [[0, 0, 0], [10, 20, 30], [40, 50, 60]]),
        (ops.rotate, BLOCK, 90, [[30, 60, 90], [20, 50, 80], [10, 40, 70]]),
        (ops.brightness, [[10, 200]], 0.5, [[15, 255]]),
        (ops.colour, [[10, 200]], 0.5, [[10, 200]]),
        # The mean grey is 100.
        (ops.contrast, [[50, 150]], 0.5, [[25, 175]]),
        (ops.contrast, [[50, 150]], -0.5, [[75, 125]]),
        # The centre is smoothed to (4 * 65 + 65) / 13 = 25.
        (
            ops.sharpness,
            [[0, 0, 0], [0, 65, 0], [0, 0, 0]],
            0.5,
            [[0, 0, 0], [0, 85, 0], [0, 0, 0]],
        ),
        (ops.posterize, [[255, 130, 63]], 6, [[192, 128, 0]]),
        (ops.solarize, [[255, 128, 127]], 128, [[0, 127, 127]]),
        (ops.invert, [[0, 100, 255]], 0, [[255, 155, 0]]),
        (ops.auto_contrast, [[50, 75, 100]], 0, [[0, 127, 255]]),
        (ops.auto_contrast, [[50, 50]], 0, [[50, 50]]),
        # 510 pixels of each value: a step of 2 pixels, so 255 levels up.
        (ops.equalize, [[7] * 510, [9] * 510], 0, [[0] * 510, [255] * 510]),
        (ops.equalize, [[7, 9]], 0, [[7, 9]]),
        (
            ops.cut_out,
            [[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 3], [4, 5, 6, 7]],
            6,
            [[1, 0, 0, 4], [5, 0, 0, 8], [9, 1, 2, 3], [4, 5, 6, 7]],
        ),
        (ops.cut_out, [[1, 2], [3, 4]], 3, [[1, 2], [3, 4]]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_operation_has_the_value_worked_by_hand(
    operation, picture, strength, expected
):
    assert changed(operation, picture, strength) == expected


PILLOW = {
    "brightness": lambda i, s: PIL.ImageEnhance.Brightness(i).enhance(1 + s),
    "colour": lambda i, s: PIL.ImageEnhance.Color(i).enhance(1 + s),
    "contrast": lambda i, s: PIL.ImageEnhance.Contrast(i).enhance(1 + s),
    "sharpness": lambda i, s: PIL.ImageEnhance.Sharpness(i).enhance(1 + s),
    "posterize": lambda i, s: PIL.ImageOps.posterize(i, 8 - round(abs(6 * s))),
    "solarize": lambda i, s: PIL.ImageOps.solarize(i, 256 - abs(256 * s)),
    "auto_contrast": lambda i, s: PIL.ImageOps.autocontrast(i),
    "equalize": lambda i, s: PIL.ImageOps.equalize(i),
    "invert": lambda i, s: PIL.ImageOps.invert(i),
}


@pytest.mark.parametrize("name", PILLOW)
def test_values_are_those_of_pillow(name):
    # Every channel has a range of its own.
    images = random_images(8) // np.array([1, 2, 3], np.uint8)
    strengths = np.linspace(-0.99, 0.99, 8)
    scale = {"posterize": 6, "solarize": 256}.get(name)
    given = strengths if scale is None else np.abs(scale * strengths)
    outputs = getattr(ops, name)(tf.constant(images), floats(given)).numpy()
    expected = [
        np.array(PILLOW[name](PIL.Image.fromarray(image), strength))
        for image, strength in zip(images, strengths, strict=True)
    ]
    # Pillow rounds products of other values in other places.
    most = int(name not in ("posterize", "solarize", "equalize", "invert"))
    assert np.abs(outputs.astype(int) - np.array(expected)).max() <= most


@pytest.mark.parametrize("operation", OPERATIONS[:12], ids=lambda op: op.__name__)
def test_strength_0_keeps_every_bit(operation):
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), np.uint8)
    outputs = operation(tf.constant(images), floats([0, 0, 0]))
    np.testing.assert_array_equal(outputs, images)


@DRAWN
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_does_not_depend_on_the_others_of_its_batch(name, channels):
    image = dataclasses.replace(SPECS[name], size=8, channels=channels)
    images = random_images(60, 8, channels)
    drawn = draw_operations(np.random.default_rng(1), 60, image)
    whole = augmented(tf.constant(images), floats(drawn)).numpy()
    assert (whole.shape, whole.dtype) == (images.shape, np.uint8)
    assert (whole != images).any(axis=(1, 2, 3)).sum() > 20
    for place in range(0, 60, 7):
        one = slice(place, place + 1)
        alone = augmented(tf.constant(images[one]), floats(drawn[one]))
        np.testing.assert_array_equal(alone, whole[one])


def test_trivial_draws_operations_and_strengths_uniformly():
    num_images = 14 * 31 * 100
    drawn = draw_operations(np.random.default_rng(0), num_images, SPECS["trivial"])
    assert drawn.shape == (num_images, 1, 2)
    numbers, strengths = drawn[:, 0].T
    counts = np.bincount(numbers.astype(int))
    assert len(counts) == NUM_TRIVIAL
    # Five standard deviations of a count of 3100.
    assert np.abs(counts - 3100).max() < 5 * 3100**0.5
    turns = strengths[numbers == OPERATIONS.index(ops.rotate)]
    assert np.unique(np.abs(turns)).tolist() == pytest.approx(
        np.linspace(0, 135, 31).tolist()
    )
    bins = np.bincount(np.rint(np.abs(turns) / 4.5).astype(int))
    assert np.abs(bins - 100).max() < 50
    assert 0.45 < (turns < 0).mean() < 0.55


@pytest.mark.parametrize(
    ("operation", "largest", "kinds"),
    [
        (ops.identity, 0, 1),
        (ops.shear_y, 0.99, 61),
        (ops.translate_x, 32, 61),
        (ops.sharpness, 0.99, 61),
        (ops.posterize, 6, 7),
        (ops.solarize, 256, 31),
        (ops.equalize, 0, 1),
    ],
)
def test_trivial_has_the_wide_strengths(operation, largest, kinds):
    drawn = draw_operations(np.random.default_rng(0), 60_000, SPECS["trivial"])[:, 0]
    strengths = drawn[drawn[:, 0] == OPERATIONS.index(operation), 1]
    assert strengths.max() == pytest.approx(largest)
    assert len(np.unique(strengths)) == kinds
    assert bool(strengths.min() < 0) is (kinds == 61)


def test_the_policy_draws_its_25_pairs_with_their_probabilities():
    image = SPECS["autoaugment_cutout"]
    drawn = draw_operations(np.random.default_rng(0), 100_000, image)
    numbers = drawn[..., 0].astype(int)
    pairs = collections.Counter(map(tuple, numbers[:, :2]))
    names = {operation.__name__: n for n, operation in enumerate(OPERATIONS)}
    # Only one pair begins with rotate, 7 of 10 times, and ends so 3 of 10 times.
    both = pairs[names["rotate"], names["translate_x"]] / 100_000
    assert both == pytest.approx(0.7 * 0.3 / 25, rel=0.15)
    turns = drawn[..., 1][numbers == names["rotate"]]
    # 2800 turns: five standard deviations are 0.05.
    assert 0.45 < (turns < 0).mean() < 0.55
    turns = np.abs(turns)
    assert np.unique(turns).tolist() == pytest.approx([2 * 30 / 9])
    # Operations of a pair have signs of their own, here of 2500 pairs.
    twice = (numbers[:, :2] == names["translate_y"]).all(axis=1)
    assert 0.45 < (drawn[twice, :2, 1].prod(axis=1) < 0).mean() < 0.55
    moves = np.abs(drawn[..., 1][numbers == names["translate_x"]])
    # 9 and 8 ninths of 150 / 331 of 32 pixels, which are 14.5.
    assert np.unique(moves).tolist() == [12, 14]
    # Ninths of the largest strengths: 0.3, 0.9, 256, and 4 bits, rounded.
    for name, expected in [
        ("shear_y", [7 / 30, 8 / 30]),
        ("translate_y", [4, 14]),
        ("brightness", [0.3, 0.6, 0.7, 0.9]),
        ("colour", [0, 0.3, 0.7, 0.8, 0.9]),
        ("contrast", [0.6, 0.7]),
        ("sharpness", [0.1, 0.3, 0.5, 0.6, 0.9]),
        ("solarize", [256 * ninths / 9 for ninths in (2, 3, 5, 8)]),
        ("posterize", [3]),
    ]:
        strengths = np.abs(drawn[..., 1][numbers == names[name]])
        assert np.unique(strengths).tolist() == pytest.approx(expected)
    assert (numbers[:, 2] == names["cut_out"]).all()
    assert np.unique(drawn[:, 2, 1]).tolist() == list(range(32 * 32))


def test_the_policy_applies_operations_as_often_as_published():
    """Sums of the probabilities in the 25 pairs of Cubuk et al."""
    image = SPECS["autoaugment_cutout"]
    drawn = draw_operations(np.random.default_rng(0), 100_000, image)
    counts = np.bincount(drawn[:, :2, 0].astype(int).ravel(), minlength=16)
    published = {
        "shear_y": 0.7,
        "translate_x": 0.8,
        "translate_y": 3.4,
        "rotate": 0.7,
        "brightness": 2.3,
        "colour": 2.9,
        "contrast": 0.8,
        "sharpness": 2.8,
        "posterize": 0.3,
        "solarize": 1.9,
        "auto_contrast": 5.0,
        "equalize": 4.7,
        "invert": 0.2,
    }
    found = {
        operation.__name__: 25 * count / 100_000
        for operation, count in zip(OPERATIONS, counts, strict=True)
        if count and operation is not ops.identity
    }
    # The largest deviation is 0.03.
    assert found == pytest.approx(published, abs=0.09)


def test_moves_and_holes_of_the_policy_grow_with_the_image():
    """9 and 8 ninths of 150 / 331 of 64 pixels, which are 29.003."""
    # Crops are 64 pixels wide, which is what counts.
    image = dataclasses.replace(SPECS["autoaugment_cutout"], size=64, stored_size=72)
    drawn = draw_operations(np.random.default_rng(0), 20_000, image)
    moves = drawn[drawn[..., 0] == OPERATIONS.index(ops.translate_x), 1]
    assert np.unique(np.abs(moves)).tolist() == [25, 29]
    assert 63 * 64 < drawn[:, 2, 1].max() < 64 * 64


def test_cutout_blackens_16_by_16_pixels_of_32_by_32():
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    middle, corner = (
        255 - ops.cut_out(tf.constant(white), floats([place])).numpy()[0, ..., 0]
        for place in (16 * 32 + 16, 0)
    )
    assert (middle[8:24, 8:24] == 255).all()
    assert (middle > 0).sum() == 256
    assert (corner[:8, :8] == 255).all()
    assert (corner > 0).sum() == 64


def test_operations_are_applied_in_turn():
    """An inverted white image is black, as the hole is that comes after it."""
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    numbers = [OPERATIONS.index(operation) for operation in (ops.invert, ops.cut_out)]
    drawn = floats([[(number, 0) for number in numbers]])
    assert not augmented(tf.constant(white), drawn).numpy().any()


def test_each_operation_in_turn_has_its_own_strength():
    row = np.zeros((1, 1, 8, 1), np.uint8)
    row[..., 0, 0] = 255
    number = OPERATIONS.index(ops.translate_x)
    moved = augmented(tf.constant(row), floats([[(number, 1), (number, 2)]]))
    assert moved.numpy().ravel().tolist() == [0, 0, 0, 255, 0, 0, 0, 0]


def crops_of(image):
    """All 8 images of the first epoch, in several batches."""
    images = random_images(8, image.stored_size, image.channels)
    pool = Examples(images, np.arange(8), np.arange(8))
    batches = TrainingInput(pool, image, 3, 1, 0).epoch(0)
    return np.concatenate([pixels for pixels, _ in batches])


@DRAWN
def test_a_resumed_epoch_from_the_cache_has_the_same_images(name, tmp_path):
    image = SPECS[name]
    pool = Examples(random_images(6), np.arange(6), np.arange(6))
    pool.images.tofile(tmp_path / "images")
    file = ImageFile(tmp_path / "images", pool.images.shape)
    stored = StoredImages((file,), np.arange(6))
    cached = Examples(stored, pool.labels, pool.ids)
    in_memory, on_disk = (
        TrainingInput(examples, image, 4, 1, 0) for examples in (pool, cached)
    )
    _, (expected, _) = in_memory.epoch(0)
    [(resumed, _)] = on_disk.epoch(0, first_update=1)
    np.testing.assert_array_equal(resumed, expected)


@DRAWN
def test_every_epoch_step_and_seed_has_draws_of_its_own(name):
    """So has the alpha split."""
    pool = Examples(random_images(50), np.arange(50), np.arange(50))
    tables = [
        TrainingInput(pool, SPECS[name], 4, seed, step)._views(*purposes, epoch)
        for seed, step, epoch in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
        for purposes in (pipeline._OF_TRAINING, pipeline._OF_VALIDATION)
    ]
    for of_kind in zip(*tables, strict=True):  # crops, then operations
        assert len({table.tobytes() for table in of_kind}) == 8


def test_operations_change_the_crops_of_crop_flip_and_nothing_before_them():
    image = SPECS["trivial"]
    crops, outputs = crops_of(SPECS["crop_flip"]), crops_of(image)
    order = generator(1, Purpose.EPOCH_ORDER, 0, 0).permutation(8)
    rng = generator(1, Purpose.OPERATIONS, 0, 0)
    drawn = draw_operations(rng, 8, image)[order]
    expected = augmented(tf.constant(crops), floats(drawn))
    np.testing.assert_array_equal(outputs, expected)
    assert (outputs != crops).any()


@DRAWN
def test_the_alpha_split_is_augmented_at_any_update(name):
    pool = Examples(random_images(6), np.arange(6), np.arange(6))
    training = TrainingInput(pool, SPECS[name], 4, 1, 0)
    whole = [pixels.numpy() for pixels, _ in training.cycle(0, 3)]
    rest = [pixels.numpy() for pixels, _ in training.cycle(1, 2)]
    np.testing.assert_array_equal(rest, whole[1:])
    assert list(training.cycle(0, 0)) == []


@DRAWN
def test_an_augmentation_decides_identity_and_has_no_published_numbers(prepared, name):
    def config(**options):
        return make_config(dataset="cifar100", data_dir=prepared, **options)

    ours, theirs = config(augmentation=name), config()
    [text] = outcome_differences(theirs.to_json(), ours.to_json())
    assert text.startswith("--augmentation (stream.image.augmentation) was")
    assert published_scores(theirs.to_json())
    assert published_scores(ours.to_json()) == {}
    assert ours.run_dir != theirs.run_dir
    assert protocol(theirs)["augmentation"].endswith("left to right; nothing else")
    assert name.split("_")[0] in protocol(ours)["augmentation"].lower()


def test_an_augmentation_of_other_channels_is_refused():
    with pytest.raises(RequestError, match="needs images of 1 or 3 channels"):
        dataclasses.replace(SPECS["trivial"], channels=4)


def test_a_frozen_backbone_refuses_an_augmentation(tmp_path):
    with pytest.raises(RequestError, match="no effect with --freeze_backbone"):
        make_config(
            dataset="digits",
            augmentation="trivial",
            freeze_backbone=True,
            run_dir=tmp_path,
        )
