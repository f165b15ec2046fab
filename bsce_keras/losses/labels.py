"""Labels of the losses: integers, or one weight per class."""

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
    """Labels that fit the logits, and True if they have one weight per class.

    Args:
        y_true: integers, shape `(...)` or `(..., 1)`; or one-hot or soft labels, shape
            `(..., num_classes)`.
        logits: shape `(..., num_classes)`.

    Returns:
        Pair: int32 labels of shape `(...)` and False, or labels of shape
        `(..., num_classes)` in the type of the logits and True.

    Raises:
        ValueError: the shape is none of these.
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
