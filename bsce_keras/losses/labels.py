"""Labels as the losses take them: integers, one per image."""

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
