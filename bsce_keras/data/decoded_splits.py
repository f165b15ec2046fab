"""Decoding of splits into memory, or into the cache that the configuration names."""

import logging
import math

import numpy as np

from bsce_keras.data.image_cache import gigabytes, load_or_decode
from bsce_keras.data.splits import Decoded, joined
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.machine import available_memory

_log = logging.getLogger(__name__)


def decoded_splits(splits, stream_config):
    """Returns the `Decoded` of every split, in memory or in the cache."""
    if stream_config.cache_dir is None:
        num_images = sum(split.num_images for split in splits)
        _refuse_more_than_memory(num_images, stream_config.image)
        return [_in_memory(split) for split in splits]
    # Empty splits are not cached.
    kept = [split for split in splits if split.num_images]
    found = iter(load_or_decode(stream_config.cache_dir, kept))
    return [next(found) if split in kept else _in_memory(split) for split in splits]


def _in_memory(split):
    """Decodes a split into arrays, cut to the number of images it gave."""
    images = np.empty((split.num_images, *split.image_shape), np.uint8)
    all_keys, all_labels, filled = [], [], 0
    for keys, labels, batch in split.batches(joined([])):
        images[filled : filled + len(batch)] = batch
        filled += len(batch)
        all_keys.append(keys)
        all_labels.append(labels)
    keys = joined(all_keys)
    return Decoded(images[:filled], keys, joined(all_labels), split.bad(keys))


def _refuse_more_than_memory(num_images, image):
    shape = (num_images, image.stored_size, image.stored_size, image.channels)
    num_bytes, available = math.prod(shape), available_memory()
    _log.info("Reading %d images into %d bytes of memory.", num_images, num_bytes)
    # Sorting needs a second copy of the images.
    if 2 * num_bytes > available:
        raise RequestError(
            f"All images are held in memory: {num_images} of {image.stored_size}x"
            f"{image.stored_size}x{image.channels} take {gigabytes(num_bytes)}, and "
            f"{gigabytes(2 * num_bytes)} while they are sorted. This machine has "
            f"{gigabytes(available)} available. Keep them on the disk, where they take "
            f"{gigabytes(num_bytes)}, with --cache_dir=DIR; or use a machine with more "
            "memory, or fewer or smaller images (--image_size with folder and "
            "tfds:NAME)."
        )
