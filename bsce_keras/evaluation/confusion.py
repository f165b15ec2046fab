"""Predictor + test images -> confusion matrix, from which all scores derive."""

import numpy as np


def confusion_matrix(predictions, labels, num_classes):
    """Counts of (true class, predicted class), int64, shape `(N, N)`."""
    pairs = np.asarray(labels) * num_classes + np.asarray(predictions)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def evaluate(logits_of, test, num_classes):
    """Confusion matrix of the largest plain logit over all seen classes.

    The log prior of the balanced softmax has no part in predictions.

    Args:
        logits_of: uint8 images -> logits `(n, num_classes)`.
        test: `Examples` of the seen classes, labels in arrival order.
        num_classes: seen classes.

    Returns:
        int64, shape `(num_classes, num_classes)`, rows true classes.
    """
    if len(test) == 0:
        return np.zeros((num_classes, num_classes), np.int64)
    predictions = logits_of(test.images).argmax(axis=1)
    return confusion_matrix(predictions, test.labels, num_classes)
