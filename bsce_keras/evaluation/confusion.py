"""Confusion matrix of predictions on test images, from which all scores derive."""

import numpy as np


def confusion_matrix(predictions, labels, num_classes):
    """Counts pairs of true and predicted class.

    Args:
        predictions, labels: class indices, shape `(n,)`.
        num_classes: number of classes, N.

    Returns:
        int64, shape `(N, N)`, rows true classes.
    """
    pairs = np.asarray(labels) * num_classes + np.asarray(predictions)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def to_sparse(confusion):
    """Returns the entries that are not 0, int64, shape `(n, 3)`.

    A row holds true class, predicted class and number of images. There are at most as
    many rows as test images.
    """
    entries = np.argwhere(confusion)
    counts = np.asarray(confusion)[tuple(entries.T)]
    return np.column_stack([entries, counts]).astype(np.int64)


def from_sparse(entries, num_classes):
    """Returns the confusion matrix of `to_sparse`, int64, shape `(N, N)`."""
    confusion = np.zeros((num_classes, num_classes), np.int64)
    true, predicted, counts = entries.T
    confusion[true, predicted] = counts
    return confusion


def smallest_type(confusion):
    """Returns the matrix in the smallest unsigned integers that hold its counts."""
    return confusion.astype(np.min_scalar_type(int(confusion.max(initial=0))))
