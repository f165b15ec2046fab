"""Handwritten digits, a small data set that comes with scikit-learn."""

import numpy as np

from bsce_keras.runtime.errors import refuse

_TRAIN_IMAGES_PER_CLASS = 130


def describe_digits(asked):
    """Returns the `DatasetInfo` of ten classes named "0" to "9"."""
    refuse(asked.size_problems())
    return asked.info(str(digit) for digit in range(10))


def load_digits(stream_config, training_images, test_images):
    """Returns the `ImageDataset`: 130 training images a class, all others for testing.

    With equal counts the base step is the same under softmax and balanced softmax.
    NumPy's legacy generator draws the images with seed 0, so the split never changes.
    """
    from sklearn import datasets

    from bsce_keras.data.examples import numbered
    from bsce_keras.data.splits import ImageDataset

    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    generator = np.random.RandomState(0)
    is_train = np.zeros(len(labels), bool)
    for label in range(10):
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        is_train[shuffled[:_TRAIN_IMAGES_PER_CLASS]] = True
    train, test = is_train & training_images, ~is_train & test_images
    return ImageDataset(
        train=numbered(images[train], labels[train]),
        test=numbered(images[test], labels[test]),
    )
