"""Softmax cross-entropy, the baseline of the classification losses."""

from bsce_keras.losses.balanced_softmax import balanced_softmax_crossentropy
from bsce_keras.losses.dtypes import Tensor


def softmax_crossentropy(y_true: Tensor, logits: Tensor) -> Tensor:
    """Softmax cross-entropy: the Balanced Softmax of equal class counts.

        loss = logsumexp(z) - z_y

    Args:
        y_true: labels as in `balanced_softmax_crossentropy`.
        logits: float, shape `(batch, num_classes)`, before any softmax.

    Returns:
        Float, shape `(batch,)`: one loss per image, in nats, not reduced, computed in
        float32 at least.

    Example:

    >>> import numpy as np
    >>> loss = softmax_crossentropy([0, 1], np.zeros((2, 4)))
    >>> np.exp(loss).round(3).tolist()
    [4.0, 4.0]
    """
    return balanced_softmax_crossentropy(y_true, logits, (1,) * logits.shape[-1])
