"""Labels that the losses accept: integers, or one weight per class."""

from keras import ops


def flat_labels(y_true):
    """Int32 labels of shape `(batch,)` from `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: the labels are one-hot.
    """
    labels = ops.convert_to_tensor(y_true)
    if len(labels.shape) == 2 and labels.shape[1] not in (1, None):
        raise ValueError(
            "Labels must be integers, shape (batch,) or (batch, 1). Received: shape "
            f"{tuple(labels.shape)}, which looks one-hot: take its argmax."
        )
    return ops.reshape(ops.cast(labels, "int32"), (-1,))


def integer_or_soft_labels(y_true, logits):
    """Returns labels that fit the logits, and True if they are weights per class.

    Args:
        y_true: integers, shape `(...)` or `(..., 1)`; or one-hot or soft labels, shape
            `(..., num_classes)`.
        logits: shape `(..., num_classes)`.

    Returns:
        Pair: int32 labels of shape `(...)` and False, or labels of shape
        `(..., num_classes)` in the type of the logits and True.

    Raises:
        ValueError: the shape is not one of these.
    """
    labels = ops.convert_to_tensor(y_true)
    num_axes, num_classes = len(logits.shape), logits.shape[-1]
    if len(labels.shape) == num_axes:
        if labels.shape[-1] == num_classes != 1:
            return ops.cast(labels, logits.dtype), True
        if labels.shape[-1] in (1, None):
            labels = ops.squeeze(labels, axis=-1)
    if len(labels.shape) != num_axes - 1:
        raise ValueError(
            "Labels must be integers, one per row of the logits, or one-hot or soft "
            "labels in the shape of the logits. Received: labels of shape "
            f"{tuple(labels.shape)} for logits of shape {tuple(logits.shape)}."
        )
    return ops.cast(labels, "int32"), False


def smoothed(labels, are_soft, is_present, label_smoothing):
    """Spreads a share of each label evenly over the classes with images.

        (1 - label_smoothing) labels + label_smoothing is_present / sum_c is_present[c]

    Args:
        labels, are_soft: results of `integer_or_soft_labels`.
        is_present: float, shape `(num_classes,)`: 1 for a class with images, else 0.
        label_smoothing: share of each label, from 0 to below 1.

    Returns:
        Float, shape `(..., num_classes)`, in the type of `is_present`.
    """
    if not are_soft:
        labels = ops.one_hot(labels, is_present.shape[0], dtype=is_present.dtype)
    spread = is_present / ops.sum(is_present)
    return (1 - label_smoothing) * labels + label_smoothing * spread
