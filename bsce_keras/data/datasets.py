"""Named data sets as uint8 images, indexed by class id.

Every image is decoded and cut to a square of `stored_size ** 2 * channels` bytes, and
held in memory or, with a `cache_dir`, kept on the disk: CIFAR-100 takes 184 MB, a
thousand images of 256x256 197 MB. A data set too large for the machine's memory or disk
is refused before an image is decoded.
"""

import numpy as np

from bsce_keras.data.examples import numbered
from bsce_keras.data.folder_images import load_folder
from bsce_keras.data.splits import ImageDataset
from bsce_keras.data.tfds_images import load_tfds

_DIGITS_PER_CLASS = 130


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
    if stream_config.dataset == "digits":
        return _load_digits(training_images, test_images)
    if stream_config.dataset == "folder":
        return load_folder(stream_config, training_images, test_images)
    return load_tfds(stream_config, training_images, test_images)


def _load_digits(training_images, test_images):
    """scikit-learn's digits: 130 images of each class train, the rest test.

    Equal counts make the base step the same under softmax and balanced softmax. The
    legacy generator with seed 0 draws them, so that the split never changes.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    generator = np.random.RandomState(0)
    is_train = np.zeros(len(labels), bool)
    for label in range(10):
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        is_train[shuffled[:_DIGITS_PER_CLASS]] = True
    train, test = is_train & training_images, ~is_train & test_images
    return ImageDataset(
        train=numbered(images[train], labels[train]),
        test=numbered(images[test], labels[test]),
    )
