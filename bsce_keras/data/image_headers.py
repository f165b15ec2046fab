"""Headers of image files, read by TensorFlow operations before decoding."""

import tensorflow as tf

# Place values of four bytes, the lowest first.
_BYTE_PLACES = (1, 2**8, 2**16, 2**24)


def num_pixels(encoded):
    """Number of pixels by the header, int64; 0 if the bytes lack a known header."""
    # A truncated header gives an empty product, 1. Decoding refuses it later.
    sides = tf.case(
        [
            (_begins(encoded, b"\xff\xd8\xff"), lambda: _jpeg_sides(encoded)),
            (is_png(encoded), lambda: _numbers(encoded, 16, tf.int32, False)),
            (is_bmp(encoded), lambda: _numbers(encoded, 18, tf.int32)),
            (_begins(encoded, b"GIF8"), lambda: _numbers(encoded, 6, tf.uint16)),
            (is_webp(encoded), lambda: _webp_sides(encoded)),
        ],
        default=lambda: tf.zeros((2,), tf.int64),
    )
    # The height of a BMP stored from top to bottom is negative.
    return tf.reduce_prod(tf.abs(sides))


def is_png(encoded):
    """Returns a bool tensor: True if the bytes begin like a PNG."""
    return _begins(encoded, b"\x89PNG")


def is_bmp(encoded):
    """Returns a bool tensor: True if the bytes begin like a BMP."""
    return _begins(encoded, b"BM")


def is_webp(encoded):
    """Returns a bool tensor: True if the bytes begin like a WebP."""
    return _begins(encoded, b"RIFF") & (header_part(encoded, 8, 4) == b"WEBP")


def header_part(encoded, start, length):
    """Returns `length` bytes of a file from `start`, or fewer at its end."""
    start = tf.minimum(start, tf.strings.length(encoded))
    return tf.strings.substr(encoded, start, length)


def _begins(encoded, signature):
    return header_part(encoded, 0, len(signature)) == signature


def _jpeg_sides(encoded):
    return tf.image.extract_jpeg_shape(encoded, tf.int64)[:2]


def _webp_sides(encoded):
    """Width and height; each of the three forms of WebP stores them elsewhere."""
    form = header_part(encoded, 12, 4)
    return tf.case(
        [
            (form == b"VP8X", lambda: _webp_canvas(encoded)),
            (form == b"VP8L", lambda: _webp_lossless(encoded)),
        ],
        default=lambda: _numbers(encoded, 26, tf.uint16) % 2**14,
    )


def _webp_canvas(encoded):
    """Sides of an extended WebP: two numbers of 24 bits, each one less than a side."""
    bytes_of = _numbers(encoded, 24, tf.uint8, count=6)
    return tf.reduce_sum(tf.reshape(bytes_of, (2, 3)) * [1, 2**8, 2**16], axis=1) + 1


def _webp_lossless(encoded):
    """Sides of a lossless WebP: two numbers of 14 bits, each one less than a side."""
    bits = tf.reduce_sum(_numbers(encoded, 21, tf.uint8, count=4) * _BYTE_PLACES)
    return tf.stack([bits, bits // 2**14]) % 2**14 + 1


def _numbers(encoded, start, kind, little_endian=True, count=2):
    """Reads int64 numbers of a header from `start`; empty if the header is cut off."""
    length = count * kind.size
    part = header_part(encoded, start, length)
    is_whole = tf.strings.length(part) == length
    raw = tf.io.decode_raw(tf.where(is_whole, part, b""), kind, little_endian)
    return tf.cast(raw, tf.int64)
