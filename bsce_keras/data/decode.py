"""Conversion of encoded images to uint8 squares, by TensorFlow operations only.

Training and exported models use the same two functions. A deployed model therefore
sees the same pixels as in training.
"""

import tensorflow as tf

from bsce_keras.config.choices import MAX_IMAGE_PIXELS
from bsce_keras.data.image_headers import (
    header_part,
    is_bmp,
    is_png,
    is_webp,
    num_pixels,
)
from bsce_keras.data.image_kinds import too_many_pixels

# Values of the field `compression` of a BMP. Masks define the byte order of a pixel.
_UNCOMPRESSED, _MASKED = b"\0\0\0\0", b"\3\0\0\0"
_ANIMATED_WEBP = "an animated WebP is not supported"
_UNUSUAL_BMP = "a BMP with compression or a colour palette is not supported"
# Messages about complete images that cannot be decoded.
UNSUPPORTED = (_ANIMATED_WEBP, _UNUSUAL_BMP)
_BGR_MASKS = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0"
_GREY_PALETTE = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
# Longest ratio of sides that is resized; longer strips are cut first. A row of 60,000
# pixels, resized to a short side of 73, would take 3.8 GB. Only its middle is kept.
_LONGEST_SIDE = 8


def decode_image(encoded, channels, max_pixels=MAX_IMAGE_PIXELS):
    """Decodes one JPEG, PNG, BMP, WebP or GIF (its first frame).

    Grey, palette, CMYK and 16-bit images are converted. Alpha is dropped. EXIF rotation
    is not applied.

    Args:
        encoded: string scalar, the bytes of a file.
        channels: 3 for RGB, 1 for grey.
        max_pixels: largest number of pixels by the header; larger images are refused
            before they are decoded. TensorFlow decodes all frames of a GIF, but the
            header counts only one.

    Returns:
        uint8, shape `(height, width, channels)`.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are not a complete image, the image
            has too many pixels, or its kind is one of `UNSUPPORTED`.
    """
    is_small = num_pixels(encoded) <= max_pixels
    check = tf.debugging.Assert(is_small, [too_many_pixels(max_pixels)])
    with tf.control_dependencies([check]):
        encoded = tf.identity(encoded)
    # Decode to RGB first: TensorFlow reads CMYK, BMP and GIF only as RGB.
    rgb = tf.case(
        [
            (is_png(encoded), lambda: _decode_png(encoded)),
            (is_webp(encoded), lambda: _decode_webp(encoded)),
            (is_bmp(encoded), lambda: _decode_bmp(encoded)),
        ],
        default=lambda: _decode_any(encoded),
    )
    image = rgb if channels == 3 else tf.image.rgb_to_grayscale(rgb)
    return tf.ensure_shape(image, (None, None, channels))


def fit_to_square(image, stored_size):
    """Resizes the short side to `stored_size` and cuts out the centre square.

    The resize is bilinear with antialiasing, and rounded. An image that already fits is
    returned unchanged, bit for bit. An image more than 8 times as long as wide first
    loses its ends.

    Args:
        image: uint8, shape `(height, width, channels)` or `(batch, height, width,
            channels)`; height and width may be unknown until the call.
        stored_size: side of the square.

    Returns:
        uint8, the same shape with height and width `stored_size`.
    """
    fits = tf.reduce_all(tf.shape(image)[-3:-1] == stored_size)
    square = tf.cond(fits, lambda: image, lambda: _resize_and_crop(image, stored_size))
    batch, channels = image.shape[:-3], image.shape[-1:]
    return tf.ensure_shape(square, [*batch, stored_size, stored_size, *channels])


def _resize_and_crop(image, side):
    image = _without_ends(image)
    size = tf.shape(image)[-3:-1]
    new_size = tf.cast(tf.round(size * side / tf.reduce_min(size)), tf.int32)
    resized = tf.round(tf.image.resize(image, new_size, antialias=True))
    top, left = tf.unstack((new_size - side) // 2)
    square = resized[..., top : top + side, left : left + side, :]
    return tf.saturate_cast(square, tf.uint8)


def _without_ends(image):
    size = tf.shape(image)[-3:-1]
    kept = tf.minimum(size, _LONGEST_SIDE * tf.reduce_min(size))
    top, left = tf.unstack((size - kept) // 2)
    height, width = tf.unstack(kept)
    return image[..., top : top + height, left : left + width, :]


def _decode_png(encoded):
    return tf.cond(
        header_part(encoded, 24, 1) == b"\x10",  # bits of a channel
        lambda: _decode_png_of_16_bits(encoded),
        lambda: tf.io.decode_png(encoded, channels=3),
    )


def _decode_png_of_16_bits(encoded):
    # Decoding to 8 bits would drop the low byte: 0x01ff would become 1 instead of 2.
    image = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
    return tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)


def _decode_webp(encoded):
    flags = tf.io.decode_raw(header_part(encoded, 20, 1), tf.uint8)
    is_extended = header_part(encoded, 12, 4) == b"VP8X"
    is_animated = is_extended & tf.reduce_any(flags & 2 != 0)
    # TensorFlow 2.21 writes beyond the memory of an animated WebP.
    check = tf.debugging.Assert(~is_animated, [_ANIMATED_WEBP])
    with tf.control_dependencies([check]):
        # For WebP, TensorFlow only accepts the number of channels of the file.
        image = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    return image[..., :3]


def _decode_bmp(encoded):
    bits_per_pixel = header_part(encoded, 28, 1)
    compression = header_part(encoded, 30, 4)
    palette = header_part(encoded, 54, len(_GREY_PALETTE))
    masks = header_part(encoded, 54, len(_BGR_MASKS))
    in_order = (compression == _MASKED) & (masks == _BGR_MASKS)
    no_palette = (bits_per_pixel != b"\x08") | (palette == _GREY_PALETTE)
    is_readable = ((compression == _UNCOMPRESSED) | in_order) & no_palette
    # TensorFlow would return palette indices or compressed bytes as grey values.
    check = tf.debugging.Assert(is_readable, [_UNUSUAL_BMP])
    with tf.control_dependencies([check]):
        return _decode_any(encoded)


def _decode_any(encoded):
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)
