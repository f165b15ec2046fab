"""Operations on batches of images, each image with a strength of its own.

A function takes uint8 images `(batch, height, width, channels)` of 1 or 3 channels and
float32 strengths `(batch,)`, and returns changed images. Strength 0 keeps an image;
`auto_contrast`, `equalize` and `invert` ignore it.

Values are those of Pillow's `ImageOps` and `ImageEnhance`. Geometry is that of
torchvision's tensors: bilinear, black beyond the border, rounded to the nearest value.
"""

import math

import tensorflow as tf

# Weights of red, green and blue in grey, of 2^16; as Pillow rounds them.
_GREY = (19595, 38470, 7471)


def identity(images, strengths):
    """Keeps images."""
    del strengths
    return images


def shear_x(images, strengths):
    """Moves row y by `strength (y + 1 / 2)` pixels to the left."""
    return _transformed(images, [1, strengths, strengths / 2, 0, 1, 0])


def shear_y(images, strengths):
    """Moves column x by `strength (x + 1 / 2)` pixels up."""
    return _transformed(images, [1, 0, 0, strengths, 1, strengths / 2])


def translate_x(images, strengths):
    """Moves images by `strength` pixels to the right."""
    return _transformed(images, [1, 0, -strengths, 0, 1, 0])


def translate_y(images, strengths):
    """Moves images by `strength` pixels down."""
    return _transformed(images, [1, 0, 0, 0, 1, -strengths])


def rotate(images, strengths):
    """Turns images by `strength` degrees, anticlockwise about their centre."""
    angle = strengths * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    x, y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
    left, top = x - cos * x + sin * y, y - sin * x - cos * y
    return _transformed(images, [cos, -sin, left, sin, cos, top])


def _transformed(images, matrix):
    """Output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f).

    Args:
        matrix: a, b, c, d, e, f; numbers or float32 `(batch,)`.
    """
    ones = tf.ones(tf.shape(images)[:1])
    rows = tf.stack([entry * ones for entry in (*matrix, 0, 0)], axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=rows,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.saturate_cast(tf.round(moved), tf.uint8)


def brightness(images, strengths):
    """Multiplies pixels by `1 + strength`."""
    return _blended(tf.zeros_like(images), images, strengths)


def colour(images, strengths):
    """Moves pixels away from their grey value by `strength`; keeps grey images."""
    return _blended(_grey(images), images, strengths)


def contrast(images, strengths):
    """Moves pixels away from the mean grey of their image by `strength`."""
    grey = tf.cast(_grey(images), tf.int64)
    num_pixels = images.shape[1] * images.shape[2]
    total = tf.reduce_sum(grey, axis=(1, 2, 3), keepdims=True)
    mean = (2 * total + num_pixels) // (2 * num_pixels)
    return _blended(mean, images, strengths)


def sharpness(images, strengths):
    """Moves pixels away from their smoothed image by `strength`.

    A smoothed pixel is `(4 x + sum of its 3 x 3 pixels) / 13`; the border stays.
    """
    height, width = images.shape[1:3]
    wide = tf.pad(tf.cast(images, tf.int32), ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = 4 * wide[:, 1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            total += wide[:, row : row + height, column : column + width]
    smooth = (2 * total + 13) // 26
    rows, columns = tf.range(height)[:, None, None], tf.range(width)[:, None]
    inner = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    smooth = tf.where(inner, smooth, tf.cast(images, tf.int32))
    return _blended(smooth, images, strengths)


def _grey(images):
    """Grey value of every pixel, int32, shape `(batch, height, width, 1)`."""
    values = tf.cast(images, tf.int32)
    if images.shape[-1] == 1:
        return values
    weighted = tf.reduce_sum(values * _GREY, axis=-1, keepdims=True)
    return (weighted + 2**15) // 2**16


def _blended(start, images, strengths):
    """`start + (1 + strength) (images - start)`, cut to [0, 255], truncated."""
    start = tf.cast(start, tf.float32)
    factors = 1 + strengths[:, None, None, None]
    blended = start + factors * (tf.cast(images, tf.float32) - start)
    return tf.saturate_cast(blended, tf.uint8)


def posterize(images, strengths):
    """Clears the `strength` lowest bits of every pixel."""
    # In place of shifts of uint8, which TensorFlow leaves undefined from 8 bits on.
    step = tf.cast(2.0 ** tf.round(strengths), tf.int32)[:, None, None, None]
    values = tf.cast(images, tf.int32)
    return tf.cast(values // step * step, tf.uint8)


def solarize(images, strengths):
    """Inverts pixels from the value `256 - strength` on.

    The threshold falls from 256, as in the code of TrivialAugment. Torchvision's falls
    from 255, which inverts white at strength 0.
    """
    threshold = 256 - strengths[:, None, None, None]
    is_bright = tf.cast(images, tf.float32) >= threshold
    return tf.where(is_bright, 255 - images, images)


def invert(images, strengths):
    """Replaces pixels x by 255 - x."""
    del strengths
    return 255 - images


def auto_contrast(images, strengths):
    """Stretches every channel of an image to the values 0 to 255."""
    del strengths
    values = tf.cast(images, tf.int32)
    low = tf.reduce_min(values, axis=(1, 2), keepdims=True)
    span = tf.reduce_max(values, axis=(1, 2), keepdims=True) - low
    stretched = (values - low) * 255 // tf.maximum(span, 1)
    return tf.cast(tf.where(span > 0, stretched, values), tf.uint8)


def equalize(images, strengths):
    """Spreads the values of every channel evenly, as Pillow's `ImageOps.equalize`.

    `step` is a 255th of the pixels, those of the largest value aside. Value v becomes
    `(step // 2 + number of pixels below v) // step`. Channels with a step of 0 stay.
    """
    del strengths
    shape = tf.shape(images)
    # A row per channel of an image.
    by_channel = tf.cast(tf.transpose(images, (0, 3, 1, 2)), tf.int32)
    num_rows = shape[0] * shape[3]
    values = tf.reshape(by_channel, (num_rows, images.shape[1] * images.shape[2]))
    bins = values + 256 * tf.range(num_rows)[:, None]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, 256 * num_rows)
    counts = tf.reshape(counts, (num_rows, 256))
    largest = tf.reduce_max(values, axis=1, keepdims=True)
    of_largest = tf.gather(counts, largest, batch_dims=1)
    step = (values.shape[1] - of_largest) // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    spread = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, spread, tf.range(256))
    equal = tf.reshape(tf.gather(table, values, batch_dims=1), tf.shape(by_channel))
    return tf.ensure_shape(
        tf.cast(tf.transpose(equal, (0, 2, 3, 1)), tf.uint8), images.shape
    )


def cut_out(images, strengths):
    """Blackens a square of half the side of an image.

    `strength` is the number of its centre pixel, row by row. The square is cut off at
    the border. Source: DeVries and Taylor, "Improved Regularization of Convolutional
    Neural Networks with Cutout", 16 pixels on images of 32.
    """
    height, width = images.shape[1:3]
    centre = tf.cast(strengths, tf.int32)[:, None]
    rows = _within(tf.range(height) - centre // width, height // 4)
    columns = _within(tf.range(width) - centre % width, width // 4)
    hole = rows[:, :, None, None] & columns[:, None, :, None]
    return tf.where(hole, tf.zeros_like(images), images)


def _within(distance, half):
    return (distance >= -half) & (distance < half)
