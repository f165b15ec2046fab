"""Training images per class: checked, and counted from labels."""

import numbers

import keras
import numpy as np
from keras import ops

# Largest count: float64 holds all whole numbers up to it exactly.
_LARGEST_COUNT = 2**53


def require_count_per_column(of_classes, logits):
    """Checks that there is one count per column of the logits.

    Args:
        of_classes: tensor with one number per class, computed from `class_counts`.
        logits: shape `(..., num_classes)`.

    Raises:
        ValueError: the number of counts differs from the number of columns.
    """
    if of_classes.shape[0] != logits.shape[-1]:
        advice = "Give the counts of all seen classes, old ones included."
        if logits.shape[-1] == 1:
            advice = "Two classes need two outputs: give the model one per class."
        raise ValueError(
            "`class_counts` needs one count per column of the logits. Received: "
            f"{of_classes.shape[0]} counts for logits of shape {tuple(logits.shape)}. "
            + advice
        )


def checked_counts(class_counts):
    """List of ints from a list, tuple, array or tensor of counts.

    Raises:
        ValueError: `class_counts` is not a list, a count is not a whole number from 0
            to 2**53, or all counts are 0.
    """
    if ops.is_tensor(class_counts) or isinstance(class_counts, keras.Variable):
        class_counts = ops.convert_to_numpy(class_counts)
    if not isinstance(class_counts, (list, tuple, np.ndarray)):
        raise ValueError(
            "`class_counts` must be a list of image counts, one per class in the "
            f"order of the model's outputs. Received: {class_counts!r}"
        )
    counts = np.asarray(class_counts, dtype=object).tolist()
    if not (isinstance(counts, list) and all(map(is_count, counts)) and any(counts)):
        raise ValueError(
            "`class_counts` must be whole numbers of images, 0 or more, one per "
            "class, at most 2**53 and not all of them 0. Shares are not counts. "
            f"Received: class_counts={counts}"
        )
    return [int(count) for count in counts]


def is_count(value):
    """Returns True for a whole number from 0 to 2**53."""
    return (
        isinstance(value, numbers.Real)
        and 0 <= value <= _LARGEST_COUNT
        and float(value).is_integer()
    )


def count_labels(labels, num_classes=None):
    """Number of labels of each class.

    Args:
        labels: whole numbers of any shape, or one-hot with the classes in the last
            axis.
        num_classes: length of the result; None means the width of one-hot labels, or
            the largest label plus 1.

    Returns:
        Int array, shape `(num_classes,)`.

    Raises:
        ValueError: the labels are soft, not whole numbers, or out of range;
            `num_classes` is not a whole number above 0.
    """
    num_classes = _checked_width(num_classes)
    if hasattr(labels, "cardinality"):
        raise ValueError(
            "`labels` must be an array of labels. Received: a data set. Give it to "
            "`BalancedSoftmaxLoss.from_dataset`."
        )
    labels = np.asarray(labels)
    if _is_one_hot(labels, num_classes):
        # A sum in float16 stops at 2048, one in float32 at 2**24.
        return labels.reshape(-1, labels.shape[-1]).sum(axis=0, dtype=int)
    numeric = labels.dtype.kind in "biuf"
    whole = numeric and bool(np.all((labels >= 0) & (labels == np.floor(labels))))
    if not whole or (num_classes and np.any(labels >= num_classes)):
        upper = f"{num_classes - 1}" if num_classes else "the number of classes - 1"
        raise ValueError(
            f"Labels must be whole numbers from 0 to {upper}, or one-hot. Soft labels "
            "cannot be counted: count before MixUp and label smoothing. Received: "
            f"labels of type {labels.dtype}, shape {labels.shape}"
            + (f", from {labels.min()} to {labels.max()}" if numeric else "")
        )
    return np.bincount(labels.astype(int).ravel(), minlength=num_classes or 0)


def count_dataset(dataset, num_classes=None):
    """Number of labels of each class in a batched data set, which is read once.

    Args:
        dataset: `tf.data.Dataset` of `(images, labels, ...)`, batched as for
            `model.fit`.
        num_classes: as for `count_labels`; None means the length of
            `dataset.class_names`, if it has them.

    Returns:
        Int array, shape `(num_classes,)`.

    Raises:
        ValueError: the data set is infinite, has only images, or is not batched; the
            labels are refused by `count_labels`.
    """
    if hasattr(dataset, "cardinality") and int(dataset.cardinality()) == -1:
        raise ValueError("The data set is infinite: count it before `repeat()`.")
    if num_classes is None and hasattr(dataset, "class_names"):
        num_classes = len(dataset.class_names)
    total = np.zeros(_checked_width(num_classes) or 0, int)
    for element in dataset:
        counts = count_labels(_batch_labels(element), num_classes)
        length = max(len(total), len(counts))
        total = _lengthened(total, length) + _lengthened(counts, length)
    return total


def _checked_width(num_classes):
    if num_classes is None:
        return None
    if not (is_count(num_classes) and num_classes > 0):
        raise ValueError(
            "`num_classes` must be a whole number above 0, the number of outputs of "
            f"the model. Received: {num_classes!r}"
        )
    return int(num_classes)


def _is_one_hot(labels, num_classes):
    if labels.ndim < 2 or labels.dtype.kind not in "biuf":
        return False
    width = labels.shape[-1]
    return (
        width == (num_classes or width) != 1
        and bool(np.all((labels == 0) | (labels == 1)))
        and bool(np.all(labels.sum(axis=-1) == 1))
    )


def _batch_labels(element):
    if not (isinstance(element, (tuple, list)) and len(element) > 1):
        raise ValueError(
            "The data set must give (images, labels). Received: images. Give an array "
            "of labels to `BalancedSoftmaxLoss.from_labels`."
        )
    if isinstance(element[1], dict):
        raise ValueError(
            "The data set must give one tensor of labels. Received: a dictionary of "
            f"{sorted(element[1])}. Choose one of them by `dataset.map`."
        )
    images, labels = keras.tree.flatten(element[0])[0], np.asarray(element[1])
    if np.shape(images)[:1] != labels.shape[:1] or not labels.ndim:
        raise ValueError(
            "The data set must be batched, as for `model.fit`. Received: images of "
            f"shape {np.shape(images)} with labels of shape {labels.shape}"
        )
    return labels


def _lengthened(counts, length):
    return np.pad(counts, (0, length - len(counts)))
