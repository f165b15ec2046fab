"""Labels that the losses accept: integers, or one weight per class."""

import numbers

from keras import ops


def flat_labels(y_true, logits):
    """Int32 labels of shape `(batch,)` from `(batch,)` or `(batch, 1)`.

    Args:
        y_true: labels.
        logits: shape `(batch, num_classes)`.

    Raises:
        ValueError: the labels are one-hot, or are not one per row of the logits as far
            as shapes are known while tracing.
    """
    labels = ops.convert_to_tensor(y_true)
    if len(labels.shape) == 2 and labels.shape[1] not in (1, None):
        raise ValueError(
            "Labels must be integers, shape (batch,) or (batch, 1). Received: shape "
            f"{tuple(labels.shape)}, which looks one-hot: take its argmax."
        )
    labels = ops.reshape(ops.cast(labels, "int32"), (-1,))
    # One label would be broadcast to all rows, and one row to all labels.
    if len(logits.shape) != 2 or not may_agree(labels.shape, logits.shape[:1]):
        raise ValueError(
            "There must be one label per row of the logits, shape (batch, num_classes)."
            f" Received: {tuple(labels.shape)} labels for shape {tuple(logits.shape)}."
        )
    return labels


def require_old_among(num_old_classes, num_classes):
    """Checks that there are not more old classes than classes.

    Raises:
        ValueError: a number is below 0 or above the number of classes. Tensors are not
            checked.
    """
    is_known = isinstance(num_old_classes, numbers.Real)
    if is_known and not 0 <= num_old_classes <= num_classes:
        raise ValueError(
            "`num_old_classes` must lie between 0 and the number of classes, "
            f"{num_classes}. Received: {num_old_classes}"
        )


def may_agree(shape, other):
    """Returns True if the axes that are known while tracing are equal."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


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
        if labels.shape[-1] is None and num_classes != 1:
            # `reshape` refuses another width when the batch is there. Without it, a
            # width of 1 would be broadcast to all classes.
            labels = ops.reshape(labels, ops.shape(logits))
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
