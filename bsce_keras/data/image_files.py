"""Decoding of image files; separates faults of a file from failures of the machine."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from bsce_keras.data.decode import UNSUPPORTED
from bsce_keras.data.image_headers import num_pixels
from bsce_keras.data.image_kinds import (
    FAULTS_OF_A_FILE,
    file_kind,
    gif_pixels,
    too_many_pixels,
)
from bsce_keras.data.no_autotuner import without_autotuner
from bsce_keras.data.splits import BATCH, square
from bsce_keras.runtime.errors import RunError

# Largest number of bytes per pixel while decoding, reached by a PNG of 16 bits.
_BYTES_OF_A_PIXEL = 32


def decoded_files(paths, image):
    """Yields `(places, squares)`: positions in `paths`, and their images.

    Files are decoded in parallel and yielded in order. A file that fails is decoded
    once more on its own. If it fails again it is left out.

    Args:
        paths: list of file names.
        image: `ImageSpec`.

    Raises:
        OSError, RunError: raised by `decode_file`.
    """
    # Names are passed as bytes because some are not valid text.
    names = tf.constant([os.fsencode(path) for path in paths], tf.string)
    files = tf.data.Dataset.from_tensor_slices((tf.range(len(paths)), names))

    # The functions use only TensorFlow operations, so conversion only costs time.
    @tf.autograph.experimental.do_not_convert
    def read(place, name):
        return place, square(tf.io.read_file(name), image)

    squares = files.map(read, tf.data.AUTOTUNE)
    # `ignore_errors` drops failures, so their places are missing.
    batches = without_autotuner(squares.ignore_errors().batch(BATCH))
    start = 0
    for places, batch in batches.as_numpy_iterator():
        end = places[-1] + 1
        found = dict(zip(places.tolist(), batch, strict=True))
        yield _stacked(found | _decoded_alone(paths, start, end, found, image))
        start = end
    rest = _decoded_alone(paths, start, len(paths), {}, image)
    if rest:
        yield _stacked(rest)


def file_fault(path, image):
    """Returns the reason to refuse a file before it is decoded, or None.

    Args:
        path: the file.
        image: `ImageSpec`.

    Raises:
        OSError: the file system fails, and the fault is not in the file.
    """
    kind, reason = file_kind(path)
    if kind == "GIF" and gif_pixels(pathlib.Path(path).read_bytes()) > image.max_pixels:
        return too_many_pixels(image.max_pixels)
    return reason


def decode_file(path, image):
    """Decodes one file.

    Args:
        path: the file.
        image: `ImageSpec`.

    Returns:
        `(square, None)`, or `(None, reason)` if the fault is in the file.

    Raises:
        OSError: the file system fails, and the fault is not in the file.
        RunError: any other failure, such as a lack of memory.
    """
    try:
        return _square_or_fault(path, image)
    except OSError as error:
        if error.errno not in FAULTS_OF_A_FILE:
            raise
        return None, error.strerror
    except (MemoryError, tf.errors.OpError) as error:
        reason = getattr(error, "message", "") or "not enough memory"
        raise RunError(
            f"{path} cannot be decoded: {reason.strip().splitlines()[0]}. The file may "
            "be intact. Free memory and run the same command again."
        ) from error


def _square_or_fault(path, image):
    encoded = pathlib.Path(path).read_bytes()
    try:
        with tf.device("CPU"):
            return square(tf.constant(encoded), image).numpy(), None
    except tf.errors.InvalidArgumentError as error:
        return None, _fault(error, encoded, image)


def _decoded_alone(paths, start, end, found, image):
    """Decodes the files from `start` to `end` that are not in `found`, by place."""
    missing = [place for place in range(start, end) if place not in found]
    squares = {place: decode_file(paths[place], image)[0] for place in missing}
    return {place: one for place, one in squares.items() if one is not None}


def _stacked(squares):
    places = sorted(squares)
    return np.array(places), np.stack([squares[place] for place in places])


def _fault(error, encoded, image):
    """Reason that an image cannot be decoded, by what TensorFlow raised."""
    for reason in (*UNSUPPORTED, too_many_pixels(image.max_pixels)):
        if reason in error.message:
            return reason
    _check_memory(encoded)
    return "cut off or altered"


def _check_memory(encoded):
    """Raises MemoryError where an image could not be decoded for want of memory.

    The libraries for PNG and JPEG take that for damage of the file.
    """
    try:
        pixels = int(num_pixels(tf.constant(encoded)))
    except tf.errors.InvalidArgumentError:
        return  # Its header is damaged.
    np.empty(pixels * _BYTES_OF_A_PIXEL, np.uint8)
