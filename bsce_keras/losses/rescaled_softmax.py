"""Rescaled softmax cross-entropy: images of rare classes weigh more."""

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.label_counts import require_count_per_column
from bsce_keras.losses.labels import flat_labels


def rescaled_softmax_crossentropy(
    y_true: Tensor, logits: Tensor, class_counts: Tensor
) -> Tensor:
    """Cross-entropy in which all classes have the same total weight.

        loss_i = w[y_i] * -log( exp(z[i, y_i]) / sum_c exp(z[i, c]) )
        w[c] = S / (N n[c]),   S = sum_c n[c],   N = number of classes with n[c] > 0

    The mean of `w[y_i]` over the training images is 1, so the loss keeps its size
    beside other terms. Equal counts give the plain softmax. Unlike the balanced
    softmax, the loss shifts no logit against another.

    Source: Jodelet et al., Table 4, "loss rescaling" by the inverse class frequency.
    The paper does not give the constant. PODNet's code scales by max(n) / n[c], which
    makes the loss 5 to 7 times as large in CIFAR-100's increments.

    Args:
        y_true: int labels in `[0, num_classes)`, shape `(batch,)` or `(batch, 1)`.
        logits: float, shape `(batch, num_classes)`, before any softmax.
        class_counts: training images per seen class. A label of a class whose count is
            0 gives inf.

    Returns:
        Float, shape `(batch,)`: one loss per image, in nats, not reduced, computed in
        float32 at least.

    Raises:
        ValueError: the length of `class_counts` differs from the number of columns of
            the logits, or the labels are one-hot or not one per row of the logits.

    Example:

    >>> import numpy as np
    >>> loss = rescaled_softmax_crossentropy([0, 1], np.zeros((2, 2)), [9, 1])
    >>> [round(float(value), 4) for value in loss]  # 10/18 log 2 and 10/2 log 2
    [0.3851, 3.4657]
    """
    logits = at_least_float32(logits)
    labels = flat_labels(y_true, logits)
    counts = ops.cast(class_counts, logits.dtype)
    require_count_per_column(counts, logits)
    num_present = ops.sum(ops.cast(counts > 0, logits.dtype))
    mean_count = ops.sum(counts) / num_present
    counts = ops.take(counts, labels)
    values = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    # Divide by 1 instead of 0: the value is replaced below, but its gradient would be
    # NaN.
    rescaled = mean_count / ops.where(counts > 0, counts, 1.0) * values
    return ops.where(counts > 0, rescaled, float("inf"))
