"""Random crops and flips: drawn as a table of integers, applied to whole batches."""

import numpy as np
import tensorflow as tf


def draw_crops(rng, num_images, image):
    """One random crop per image.

    Args:
        rng: `np.random.Generator`.
        num_images: rows of the table.
        image: `ImageSpec`.

    Returns:
        int32, shape `(num_images, 3)`: top and left corner of the crop in the padded
        image, and 1 where it is mirrored.
    """
    span = image.stored_size + 2 * image.pad - image.size + 1
    crops = rng.integers(0, [span, span, 2], (num_images, 3), dtype=np.int32)
    if not image.flip:
        crops[:, 2] = 0
    return crops


def centre_crops(num_images, image):
    """The crops of evaluation: the centre, not mirrored."""
    corner = (image.stored_size + 2 * image.pad - image.size) // 2
    return np.tile(np.array([[corner, corner, 0]], np.int32), (num_images, 1))


def gather_crops(images, indices, crops, image):
    """Pads, crops and flips the images at `indices`, all in one gather.

    Args:
        images: uint8, shape `(n, stored_size, stored_size, channels)`.
        indices: int, shape `(batch,)`.
        crops: int32, shape `(batch, 3)`, of `draw_crops`.
        image: `ImageSpec`.

    Returns:
        uint8, shape `(batch, size, size, channels)`; padding is black.
    """
    side, size = image.stored_size, image.size
    along = tf.range(size, dtype=tf.int64)
    crops = tf.cast(crops, tf.int64)
    rows = crops[:, 0:1] - image.pad + along
    mirrored = crops[:, 2:3]
    columns = crops[:, 1:2] - image.pad + mirrored * (size - 1 - along)
    columns += (1 - mirrored) * along
    first_row = tf.cast(indices, tf.int64)[:, tf.newaxis] * side
    pixels = (first_row + tf.clip_by_value(rows, 0, side - 1))[:, :, tf.newaxis] * side
    pixels += tf.clip_by_value(columns, 0, side - 1)[:, tf.newaxis, :]
    taken = tf.gather(tf.reshape(images, (-1, image.channels)), pixels)
    if image.pad == 0:
        return taken
    inside = _inside(rows, side)[:, :, tf.newaxis] & _inside(columns, side)[:, None, :]
    return taken * tf.cast(inside, tf.uint8)[..., tf.newaxis]


def _inside(positions, side):
    return (positions >= 0) & (positions < side)
