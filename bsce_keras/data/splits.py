"""Splits of a data set before and after decoding."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.decode import decode_image, fit_to_square
from bsce_keras.data.examples import Examples
from bsce_keras.data.stored_images import StoredImages

# Number of images that are decoded and passed on together.
BATCH = 256
# Version of the decoder. Increase it when `decode` gives other pixels for a file; then
# cached images are decoded again.
_DECODER = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images to decode, and the fingerprint that identifies them.

    Args:
        title: name in file names and messages.
        of: callable returning a JSON object that identifies the source files and the
            decoding parameters. Equal objects mean equal decoded images.
        image: `ImageSpec`.
        num_images: largest possible number of images.
        batches: callable that maps the keys of the first images to an iterator over the
            others: arrays `(keys, labels, images)`. The order never changes. Data sets
            sort the images by key.
        bad: callable that maps the keys of all decoded images to a JSON value, which
            lists the images that could not be decoded.
    """

    title: str
    of: Callable
    image: ImageSpec
    num_images: int
    batches: Callable
    bad: Callable

    @property
    def image_shape(self):
        """Shape of one decoded image, `(side, side, channels)`."""
        return (self.image.stored_size, self.image.stored_size, self.image.channels)

    @property
    def image_bytes(self):
        """Number of bytes of one decoded image."""
        return math.prod(self.image_shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded images of a split; `bad` is the result of `Split.bad`."""

    images: np.ndarray | StoredImages
    keys: np.ndarray
    labels: np.ndarray
    bad: object


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Training and test images; their labels are the data set's class ids.

    `skipped_images` names the files that could not be decoded and were left out.
    """

    train: Examples
    test: Examples
    skipped_images: tuple[str, ...] = ()


def joined(parts):
    """Concatenates arrays of numbers or of text; ignores empty ones and their type."""
    full = [part for part in parts if len(part)]
    return np.concatenate(full) if full else np.zeros(0, np.int64)


def square(encoded, image):
    """Decodes the bytes of a file or a record to a square of `image.stored_size`."""
    decoded = decode_image(encoded, image.channels, image.max_pixels)
    return fit_to_square(decoded, image.stored_size)


def squares(encoded, image):
    """Decodes the bytes of a batch of files, shape `(batch,)`, to squares.

    A file that cannot be decoded fails the whole batch.

    Returns:
        uint8, shape `(batch, stored_size, stored_size, channels)`.
    """
    shape = (image.stored_size, image.stored_size, image.channels)
    return tf.map_fn(
        lambda data: square(data, image),
        encoded,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )


def form(image):
    """Returns the decoding parameters of a fingerprint."""
    return {
        "stored_size": image.stored_size,
        "channels": image.channels,
        "max_pixels": image.max_pixels,
        "decoder": _DECODER,
    }
