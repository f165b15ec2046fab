"""Named data sets as uint8 images, indexed by class id.

Every image is decoded and cut to a square of `stored_size ** 2 * channels` bytes, and
held in memory or, with a `cache_dir`, kept on the disk: CIFAR-100 takes 184 MB, a
thousand images of 256x256 197 MB. A data set too large for the machine's memory or disk
is refused before an image is decoded.
"""

from bsce_keras.data.catalog import find_dataset
from bsce_keras.runtime.named_objects import named_object


def load_dataset(stream_config, training_images=True, test_images=True):
    """Every image of a data set, in memory or in the cache.

    Args:
        stream_config: a `config.StreamConfig`.
        training_images, test_images: whether those are wanted; otherwise they are
            neither read nor looked for, and `train` or `test` is empty.

    Returns:
        An `ImageDataset`.

    Raises:
        RequestError: images that cannot be decoded (all of them named) while
            `on_bad_image` is `error`, or that leave nothing; no prepared copy; images
            without a label; more images than memory, or than room in the cache.
        RunError: a prepared TFDS copy is damaged.
    """
    load = named_object(find_dataset(stream_config.dataset).load)
    return load(stream_config, training_images, test_images)
