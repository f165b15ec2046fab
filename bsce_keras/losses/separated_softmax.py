"""Separated Softmax cross-entropy: old and new classes never compete."""

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.labels import flat_labels, require_old_among

# Logit of a class that does not compete. Its exp is 0. It is finite because inf - inf
# is NaN.
_OUT = -1e9


def separated_softmax_crossentropy(
    y_true: Tensor, logits: Tensor, num_old_classes: int
) -> Tensor:
    """Cross-entropy within the old classes, or within the new ones.

    If most images are new, a common softmax teaches the network to lower every old
    logit. Here the softmax of an image covers only its own side:

        loss_i = -log( exp(z[i, y_i]) / sum_{c in side(y_i)} exp(z[i, c]) )
        side(y) = [0, num_old_classes) if y < num_old_classes, else all other classes

    The gradient to logits of the other side is 0. The whole gradient is 0 if the
    image's side has one class. The loss is the plain softmax if all classes are old or
    all are new. Predictions compare the logits of both sides.

    Source: Ahn et al., "SS-IL: Separated Softmax for Incremental Learning", ICCV 2021,
    and their `trainer/ssil.py`. Jodelet et al., Table 4, use it as a correction of
    IL-Baseline.

    Args:
        y_true: int labels in `[0, num_classes)`, shape `(batch,)` or `(batch, 1)`.
        logits: float, shape `(batch, num_classes)`, before any softmax.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        Float, shape `(batch,)`: one loss per image, in nats, not reduced, computed in
        float32 at least.

    Raises:
        ValueError: the labels are one-hot, or not one per row of the logits, or there
            are more old classes than classes.

    Example:

    >>> import numpy as np
    >>> loss = separated_softmax_crossentropy([0, 3], np.zeros((2, 5)), 2)
    >>> [round(float(value), 4) for value in loss]  # log 2 and log 3
    [0.6931, 1.0986]
    """
    logits = at_least_float32(logits)
    labels = flat_labels(y_true, logits)
    require_old_among(num_old_classes, logits.shape[-1])
    is_old_class = ops.arange(logits.shape[-1], dtype="int32") < num_old_classes
    is_old_image = labels < num_old_classes
    competes = ops.equal(is_old_class[None, :], is_old_image[:, None])
    return ops.sparse_categorical_crossentropy(
        labels, ops.where(competes, logits, _OUT), from_logits=True
    )
