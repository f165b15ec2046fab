"""Balanced Softmax cross-entropy: a softmax that knows how often each class occurs."""

import math
import numbers

import keras
import numpy as np
from keras import ops

from bsce_keras.losses.counts import require_count_per_column
from bsce_keras.losses.dtypes import at_least_float32
from bsce_keras.losses.labels import flat_labels


def log_prior(class_counts, alpha=1.0, num_old_classes=0):
    """Log weight of each class in the balanced softmax.

        log lambda_c = log n_c + [c < num_old_classes] log alpha

    Args:
        class_counts: training images per seen class, shape `(num_classes,)`; a class
            with 0 gets -inf.
        alpha: weight of the old classes, a number above 0 or a scalar tensor.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        Float32 (float64 if `alpha` is), shape `(num_classes,)`.
    """
    alpha = at_least_float32(alpha)
    log_counts = ops.log(ops.cast(class_counts, alpha.dtype))
    is_old = ops.arange(log_counts.shape[0]) < num_old_classes
    return log_counts + ops.cast(is_old, alpha.dtype) * ops.log(alpha)


def balanced_softmax_crossentropy(
    y_true, logits, class_counts, alpha=1.0, num_old_classes=0
):
    """Cross-entropy whose softmax weighs each class by its training count.

    With few exemplars of old classes, training favours the new ones. Adding the log
    counts to the logits absorbs that prior; predictions use the plain logits.

        loss_i = -log( lambda[y_i] exp(z[i, y_i]) / sum_c lambda[c] exp(z[i, c]) )
        lambda[c] = alpha n[c] for old classes c < num_old_classes, else n[c]

    Source: Jodelet, Liu, Murata, "Balanced Softmax Cross-Entropy for Incremental
    Learning", Eqs. 3 to 5; without alpha Ren et al., 2020,
    https://arxiv.org/abs/2007.10740, whose released code agrees.

    Args:
        y_true: int labels in `[0, num_classes)`, shape `(batch,)` or `(batch, 1)`.
        logits: float, shape `(batch, num_classes)`, before any softmax.
        class_counts: training images per seen class. A class with 0 leaves the
            softmax; a label of such a class gives inf.
        alpha: weight of the old classes, above 0; a number or a scalar tensor.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        Float, shape `(batch,)`: one loss per image, in nats, not reduced, computed in
        float32 at least.

    Raises:
        ValueError: `class_counts` has another length than the logits have columns, or
            the labels are one-hot.

    Example:

    >>> loss = balanced_softmax_crossentropy([1], np.zeros((1, 2)), [9, 1])
    >>> round(float(loss[0]), 4)  # -log(1 / 10)
    2.3026
    """
    logits = at_least_float32(logits)
    prior = ops.cast(log_prior(class_counts, alpha, num_old_classes), logits.dtype)
    require_count_per_column(prior, logits)
    return ops.sparse_categorical_crossentropy(
        flat_labels(y_true), logits + prior, from_logits=True
    )


@keras.saving.register_keras_serializable(package="bsce_keras")
class BalancedSoftmaxLoss(keras.losses.Loss):
    """`balanced_softmax_crossentropy` for `model.compile(loss=...)`.

    Stands alone: no other part of the package is needed.

        model.compile(optimizer="sgd", loss=BalancedSoftmaxLoss([500, 500, 20]))

    Args:
        class_counts: training images per class, in the order of the model's outputs.
        alpha: weight of the old classes, above 0; a number, or a `keras.Variable`
            that is read at every call and saved as its value.
        num_old_classes: the first outputs that belong to old classes; alpha weighs
            only these.
        from_logits: False if the model ends in a softmax: the log of its
            probabilities is taken first, which gives the same loss.
        reduction, name, dtype: as for every Keras loss.

    Raises:
        ValueError: counts that are no list of whole numbers, negative or all 0; alpha
            not above 0, or given without old classes; more old classes than classes.
    """

    def __init__(
        self,
        class_counts,
        alpha=1.0,
        num_old_classes=0,
        from_logits=True,
        reduction="sum_over_batch_size",
        name="balanced_softmax",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not isinstance(class_counts, (list, tuple, np.ndarray)):
            raise ValueError(
                "`class_counts` must be a list of image counts, one per class in the "
                f"order of the model's outputs. Received: {class_counts!r}"
            )
        counts = list(class_counts)
        if not (all(map(_is_count, counts)) and any(counts)):
            raise ValueError(
                "`class_counts` must be whole numbers of images, 0 or more, one per "
                "class and not all of them 0. Shares are no counts. "
                f"Received: class_counts={counts}"
            )
        if not (_is_count(num_old_classes) and num_old_classes <= len(counts)):
            raise ValueError(
                "`num_old_classes` must be a whole number from 0 to the number of "
                f"classes, {len(counts)}. Received: {num_old_classes}"
            )
        self.class_counts = [int(count) for count in counts]
        self.alpha = alpha
        self.num_old_classes = int(num_old_classes)
        self.from_logits = from_logits
        value = _alpha_value(alpha)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(
                f"`alpha` must be a finite number above 0. Received: alpha={value}"
            )
        if not self.num_old_classes and (value != 1 or hasattr(alpha, "assign")):
            raise ValueError(
                "`alpha` weighs the old classes, and there are none. Give "
                "`num_old_classes`, or leave `alpha` out. "
                f"Received: alpha={value}, num_old_classes=0"
            )

    def call(self, y_true, y_pred):
        logits = y_pred
        if not self.from_logits:
            probabilities = at_least_float32(y_pred)
            # The smallest normal number keeps a probability of 0 finite.
            logits = ops.log(ops.maximum(probabilities, 1.2e-38))
        return balanced_softmax_crossentropy(
            y_true, logits, self.class_counts, self.alpha, self.num_old_classes
        )

    def get_config(self):
        return {
            **super().get_config(),
            "class_counts": self.class_counts,
            "alpha": _alpha_value(self.alpha),
            "num_old_classes": self.num_old_classes,
            "from_logits": self.from_logits,
        }


def _is_count(value):
    return isinstance(value, numbers.Real) and value >= 0 and float(value).is_integer()


def _alpha_value(alpha):
    return float(ops.convert_to_numpy(alpha))
