"""A split of a data set: images that can be decoded, and what they are decoded to."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from bsce_keras.config import ImageSpec
from bsce_keras.data.decode import decode_image, fit_to_square
from bsce_keras.data.examples import Examples
from bsce_keras.data.stored_images import StoredImages

# Images that are decoded and handed on together.
BATCH = 256
# Raised when `decode` makes other pixels of a file: what was kept is then of no use.
_DECODER = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images that can be decoded, and what tells them from others.

    Args:
        title: for file names and messages.
        of: without arguments -> JSON object; where it is equal, the decoded images are.
        image: `ImageSpec`.
        num_images: how many there are, at most.
        batches: keys of images -> iterator of `(keys, labels, images)`, arrays of those
            that come after these images, always in the same order. Used they are in the
            order of their keys.
        bad: keys of all images -> JSON value that tells what could not be decoded.
    """

    title: str
    of: Callable
    image: ImageSpec
    num_images: int
    batches: Callable
    bad: Callable

    @property
    def image_shape(self):
        """Of one decoded image."""
        return (self.image.stored_size, self.image.stored_size, self.image.channels)

    @property
    def image_bytes(self):
        """Of one decoded image."""
        return math.prod(self.image_shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded split; `bad` is the split's."""

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
    """Arrays of numbers or of text one after the other; empty ones have no kind."""
    full = [part for part in parts if len(part)]
    return np.concatenate(full) if full else np.zeros(0, np.int64)


def square(encoded, image):
    """A file or a record to one of the squares that images are held as."""
    decoded = decode_image(encoded, image.channels, image.max_pixels)
    return fit_to_square(decoded, image.stored_size)


def form(image):
    """What decoded images depend on beside the files."""
    return {
        "stored_size": image.stored_size,
        "channels": image.channels,
        "max_pixels": image.max_pixels,
        "decoder": _DECODER,
    }
