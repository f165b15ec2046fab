"""Random crops and flips, drawn as a table of integers and applied to batches."""

import math

import numpy as np
import tensorflow as tf

from bsce_keras.config.choices import CROP_AREA, CROP_ASPECT

# Columns of a table of crops: top, left, height and width of the box, mirrored.
NUM_COLUMNS = 5
# Number of attempts to draw a box that fits, as in torchvision.
_ATTEMPTS = 10


def draw_crops(rng, num_images, image):
    """Draws one random crop per image.

    `pad` draws the corner of a square of side `size`. `centre` takes the centre square
    and draws only its mirror image. `resized` draws the area of a box
    uniformly and its aspect log-uniformly. A box that does not fit is drawn again.
    After ten attempts the whole image is taken.

    Source: torchvision's `RandomCrop` and `RandomResizedCrop`, which LUCIR's and
    PODNet's code use. They draw boxes from the whole photograph. This function draws
    them from the stored centre square, because images of one shape fit one array, in
    memory and in the cache. The difference matters for a photograph r times as long as
    wide. Its ends, a share of 1 - 1 / r, are not seen in training. Boxes hold 0.08 / r
    to 1 / r of its area (6 % to 75 % at r = 4/3). Their pixels were reduced to a short
    side of `stored_size`: the smallest box of 256 x 256 is 72 pixels wide.

    Args:
        rng: `np.random.Generator`.
        num_images: rows of the table.
        image: `ImageSpec`.

    Returns:
        int32, shape `(num_images, 5)`: top, left, height and width of the box in the
        padded image, and 1 for a mirrored crop.
    """
    if image.training_crop == "centre":
        crops = centre_crops(num_images, image)
        crops[:, -1] = rng.integers(0, 2, num_images) * image.flip
        return crops
    if image.training_crop == "resized":
        corners, sizes = _draw_boxes(rng, num_images, image.stored_size)
        mirrored = rng.integers(0, 2, (num_images, 1))
    else:
        span = image.stored_size + 2 * image.pad - image.size + 1
        drawn = rng.integers(0, [span, span, 2], (num_images, 3), dtype=np.int32)
        corners, mirrored = np.split(drawn, [2], axis=1)
        sizes = np.full((num_images, 2), image.size)
    if not image.flip:
        mirrored = np.zeros_like(mirrored)
    return np.hstack([corners, sizes, mirrored]).astype(np.int32)


def _draw_boxes(rng, num_images, side):
    """Draws corners (top, left) and sizes (height, width) of boxes in a square."""
    sizes = np.full((num_images, 2), side)
    pending = np.arange(num_images)
    for _ in range(_ATTEMPTS):
        area = side**2 * rng.uniform(*CROP_AREA, len(pending))
        aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT), len(pending)))
        drawn = np.rint(np.sqrt([area / aspect, area * aspect])).T.clip(min=1)
        fits = (drawn <= side).all(axis=1)
        sizes[pending[fits]] = drawn[fits]
        pending = pending[~fits]
    return rng.integers(0, side - sizes + 1), sizes


def centre_crops(num_images, image):
    """Crops for evaluation: the centre, not mirrored."""
    corner = image.pad + image.centre.start
    crop = [corner, corner, image.size, image.size, 0]
    return np.tile(np.array([crop], np.int32), (num_images, 1))


def training_crops(images, indices, crops, image):
    """Cuts the crops of `draw_crops`; see `gather_crops` and `resize_crops`."""
    cut = resize_crops if image.training_crop == "resized" else gather_crops
    return cut(images, indices, crops, image)


def gather_views(features, indices, crops):
    """Takes the features of an image, or of its mirror image, as the crops are drawn.

    Args:
        features: shape `(n, views, d)`: of the images, then of the mirrored ones.
        indices: int, shape `(batch,)`.
        crops: int32, shape `(batch, 5)`, from `draw_crops`.

    Returns:
        Shape `(batch, d)`.
    """
    mirrored = tf.cast(crops[:, -1], indices.dtype)
    return tf.gather_nd(features, tf.stack([indices, mirrored], axis=1))


def gather_crops(images, indices, crops, image):
    """Pads, crops and flips the images at `indices` in one gather.

    Args:
        images: uint8, shape `(n, stored_size, stored_size, channels)`.
        indices: int, shape `(batch,)`.
        crops: int32, shape `(batch, 5)`, of height and width `size`.
        image: `ImageSpec`.

    Returns:
        uint8, shape `(batch, size, size, channels)`; padding is black.
    """
    side, size = image.stored_size, image.size
    along = tf.range(size, dtype=tf.int64)
    crops = tf.cast(crops, tf.int64)
    rows = crops[:, 0:1] - image.pad + along
    mirrored = crops[:, 4:5]
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


def resize_crops(images, indices, crops, image):
    """Crops, resizes and flips the images at `indices`, rows first, then columns.

    The resize is bilinear, antialiased and limited to the box, like `tf.image.resize`
    of the box, or Pillow. Each output pixel is a weighted sum of at most
    `ceil(2 stored_size / size)` pixels along either axis. The sum is computed element
    by element, so a crop does not depend on the other images of the batch.

    Args:
        images: uint8, shape `(n, stored_size, stored_size, channels)`.
        indices: int, shape `(batch,)`.
        crops: int32, shape `(batch, 5)`, within the image.
        image: `ImageSpec`.

    Returns:
        uint8, shape `(batch, size, size, channels)`, rounded to the nearest value.
    """
    side, size, channels = image.stored_size, image.size, image.channels
    top, left, height, width, mirrored = tf.unstack(tf.cast(crops, tf.float32), axis=1)
    forth = tf.range(size, dtype=tf.float32)[tf.newaxis]
    # Compute pixels in mirrored order: `tf.reverse` takes longer than all other work.
    order = tf.where(mirrored[:, tf.newaxis] > 0, forth[:, ::-1], forth)
    taken = tf.reshape(tf.gather(images, indices), (-1, side, side * channels))
    taken = _resize_first_axis(taken, top, height, forth, image)
    taken = tf.transpose(tf.reshape(taken, (-1, size, side, channels)), (0, 2, 1, 3))
    taken = tf.reshape(taken, (-1, side, size * channels))
    taken = _resize_first_axis(taken, left, width, order, image)
    taken = tf.transpose(tf.reshape(taken, (-1, size, size, channels)), (0, 2, 1, 3))
    return tf.saturate_cast(tf.round(taken), tf.uint8)


def _resize_first_axis(images, start, length, order, image):
    """Resizes `[start, start + length)` of the first axis of every image to `size`.

    Args:
        images: shape `(batch, stored_size, pixels)`.
        start, length: float32, shape `(batch,)`.
        order: float32, `(batch, size)` or `(1, size)`, indices of the output pixels.
        image: `ImageSpec`.

    Returns:
        float32, shape `(batch, size, pixels)`.
    """
    start, length = start[:, tf.newaxis], length[:, tf.newaxis]
    scale = length / image.size
    radius = tf.maximum(scale, 1.0)
    centre = start + (order + 0.5) * scale - 0.5
    first = tf.floor(centre - radius) + 1.0
    total = weights = 0.0
    for tap in range(max(2, math.ceil(2 * image.stored_size / image.size))):
        positions = first + tap
        weight = tf.nn.relu(1.0 - tf.abs(positions - centre) / radius)
        inside = (positions >= start) & (positions < start + length)
        weight = tf.where(inside, weight, 0.0)
        rows = tf.clip_by_value(tf.cast(positions, tf.int32), 0, image.stored_size - 1)
        pixels = tf.cast(tf.gather(images, rows, batch_dims=1), tf.float32)
        total += weight[:, :, tf.newaxis] * pixels
        weights += weight
    return total / weights[:, :, tf.newaxis]
