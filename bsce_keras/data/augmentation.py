"""Augmentations beyond crops and flips, drawn as a table and applied to batches.

Sources: Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data
Augmentation" (ICCV 2021), the space Wide; Cubuk et al., "AutoAugment: Learning
Augmentation Policies from Data" (CVPR 2019), the policy for CIFAR-10.
"""

import numpy as np
import tensorflow as tf

from bsce_keras.data import image_operations as ops

# The number of an operation in a table of draws is its place here. The first 14 are
# those of TrivialAugment.
OPERATIONS = (
    ops.identity,
    ops.shear_x,
    ops.shear_y,
    ops.translate_x,
    ops.translate_y,
    ops.rotate,
    ops.brightness,
    ops.colour,
    ops.contrast,
    ops.sharpness,
    ops.posterize,
    ops.solarize,
    ops.auto_contrast,
    ops.equalize,
    ops.invert,
    ops.cut_out,
)
NUM_TRIVIAL = 14
_NUMBERS = {operation.__name__: n for n, operation in enumerate(OPERATIONS)}
_TRIVIAL_BINS, _POLICY_BINS = 31, 10
# Strengths of operations from shear_x to sharpness are negative half of the time.
_SIGNED = np.arange(len(OPERATIONS)) <= _NUMBERS["sharpness"]
# Pairs of AutoAugment's policy: operation, tenths of its probability, strength of 0..9.
_POLICY = """
invert 1 0, contrast 2 6
rotate 7 2, translate_x 3 9
sharpness 8 1, sharpness 9 3
shear_y 5 8, translate_y 7 9
auto_contrast 5 0, equalize 9 0
shear_y 2 7, posterize 3 7
colour 4 3, brightness 6 7
sharpness 3 9, brightness 7 9
equalize 6 0, equalize 5 0
contrast 6 7, sharpness 6 5
colour 7 7, translate_x 5 8
equalize 3 0, auto_contrast 4 0
translate_y 4 3, sharpness 2 6
brightness 9 6, colour 2 8
solarize 5 2, invert 0 0
equalize 2 0, auto_contrast 6 0
equalize 2 0, equalize 6 0
colour 9 9, equalize 6 0
auto_contrast 8 0, solarize 2 8
brightness 1 3, colour 7 0
solarize 4 5, auto_contrast 9 0
translate_y 9 9, translate_y 7 9
auto_contrast 9 0, solarize 8 3
equalize 8 0, invert 1 0
translate_y 7 9, auto_contrast 9 0
"""


def num_operations(image):
    """Number of operations that the augmentation of an `ImageSpec` applies in turn."""
    return {"crop_flip": 0, "trivial": 1, "autoaugment_cutout": 3}[image.augmentation]


def draw_operations(rng, num_images, image):
    """Draws the operations of each image.

    Args:
        rng: `np.random.Generator`.
        num_images: rows of the table.
        image: `ImageSpec`.

    Returns:
        float32, shape `(num_images, num_operations(image), 2)`: place in `OPERATIONS`,
        and strength.
    """
    if image.augmentation == "trivial":
        return _draw_trivial(rng, num_images)
    if image.augmentation == "autoaugment_cutout":
        pairs = _draw_policy(rng, num_images, image.size)
        holes = _draw_holes(rng, num_images, image.size)
        return np.concatenate([pairs, holes], axis=1)
    return np.zeros((num_images, 0, 2), np.float32)


def augmented(images, drawn):
    """Applies the operations of `draw_operations` in turn.

    Args:
        images: uint8, shape `(batch, size, size, channels)`, 1 or 3 channels.
        drawn: float32, shape `(batch, num_operations, 2)`.

    Returns:
        uint8, of the shape of `images`.
    """
    for place in range(drawn.shape[1]):
        numbers = tf.cast(drawn[:, place, 0], tf.int32)
        images = _each_by_its_own(images, numbers, drawn[:, place, 1])
    return images


def _each_by_its_own(images, numbers, strengths):
    """Groups images by operation, applies each to its group, and restores the order."""
    everything = images, strengths, tf.range(tf.size(numbers))
    groups = (tf.dynamic_partition(x, numbers, len(OPERATIONS)) for x in everything)
    changed, places = [], []
    for operation, *group in zip(OPERATIONS, *groups, strict=True):
        changed.append(operation(*group[:2]))
        places.append(group[2])
    return tf.ensure_shape(tf.dynamic_stitch(places, changed), images.shape)


def _draw_trivial(rng, num_images):
    upper = [NUM_TRIVIAL, _TRIVIAL_BINS, 2]
    numbers, bins, signs = rng.integers(0, upper, (num_images, 3)).T
    largest = _largest(shear=0.99, move=32, turn=135, blend=0.99, bits=6)
    strengths = _strengths(numbers, largest, bins, _TRIVIAL_BINS, signs)
    return _table(numbers, strengths)[:, np.newaxis]


def _draw_policy(rng, num_images, size):
    pairs = [
        [
            (_NUMBERS[name], int(tenths), int(strength))
            for name, tenths, strength in map(str.split, line.split(","))
        ]
        for line in _POLICY.strip().splitlines()
    ]
    chosen = np.array(pairs)[rng.integers(0, len(pairs), num_images)]
    numbers, tenths, bins = np.moveaxis(chosen, -1, 0)
    happens = 10 * rng.random(numbers.shape) < tenths
    signs = rng.integers(0, 2, numbers.shape)
    largest = _largest(shear=0.3, move=150 / 331 * size, turn=30, blend=0.9, bits=4)
    strengths = _strengths(numbers, largest, bins, _POLICY_BINS, signs)
    return _table(np.where(happens, numbers, _NUMBERS["identity"]), strengths)


def _draw_holes(rng, num_images, size):
    centres = rng.integers(0, size**2, (num_images, 1))
    return _table(np.full_like(centres, _NUMBERS["cut_out"]), centres)


def _largest(shear, move, turn, blend, bits):
    """Largest strength of every operation."""
    of_trivial = [0, shear, shear, move, move, turn, *[blend] * 4, bits, 256]
    return np.array(of_trivial + [0] * (len(OPERATIONS) - len(of_trivial)))


def _strengths(numbers, largest, bins, num_bins, signs):
    """Strengths in equal steps from 0 to the largest; whole numbers of pixels, bits."""
    strengths = largest[numbers] * bins / (num_bins - 1)
    moves = np.isin(numbers, [_NUMBERS["translate_x"], _NUMBERS["translate_y"]])
    strengths = np.where(moves, np.trunc(strengths), strengths)
    strengths = np.where(
        numbers == _NUMBERS["posterize"], np.rint(strengths), strengths
    )
    return np.where(_SIGNED[numbers] & (signs == 1), -strengths, strengths)


def _table(numbers, strengths):
    return np.stack([numbers, strengths], axis=-1).astype(np.float32)
