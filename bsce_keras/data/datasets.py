"""Named data sets as uint8 images, labelled by class id.

Every image is decoded and cut to a square of `stored_size ** 2 * channels` bytes.
Squares are held in memory, or on the disk if there is a `cache_dir`. CIFAR-100 takes
184 MB, a thousand images of 256x256 take 197 MB. A data set too large for the machine's
memory or disk is refused before an image is decoded.
"""

import pkgutil

from bsce_keras.data.catalog import find_dataset


def load_dataset(stream_config, training_images=True, test_images=True):
    """Loads every image of a data set, into memory or the cache.

    Args:
        stream_config: a `config.StreamConfig`.
        training_images, test_images: False leaves `train` or `test` empty; those images
            are neither searched nor read.

    Returns:
        An `ImageDataset`.

    Raises:
        RequestError: images cannot be decoded (all are named) while `on_bad_image` is
            `error`; a class has only such images; the prepared copy is missing; an
            image is not labelled; the images exceed the memory or the disk.
        RunError: a prepared TFDS copy is damaged.
    """
    load = pkgutil.resolve_name(find_dataset(stream_config.dataset).load)
    return load(stream_config, training_images, test_images)
