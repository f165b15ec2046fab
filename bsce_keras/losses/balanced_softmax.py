"""Balanced Softmax cross-entropy: a softmax weighted by the class counts."""

import math
import numbers
import warnings
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32, loss_dtype
from bsce_keras.losses.label_counts import (
    checked_counts,
    count_dataset,
    count_labels,
    is_count,
    require_count_per_column,
)
from bsce_keras.losses.labels import integer_or_soft_labels, require_old_among
from bsce_keras.losses.logits import logits_of, values_if_known

# Log weight of a class without images. Its exp is 0. It is finite because 0 times -inf
# is NaN.
_LEAST_LOG_PRIOR = -1e9
# Smallest normal and largest float32.
_FLOAT32_LIMITS = (2.0**-126, 2.0**128 - 2.0**104)


def log_prior(
    class_counts: Tensor, alpha: float | Tensor = 1.0, num_old_classes: int = 0
) -> Tensor:
    """Log weight of each class in the balanced softmax.

        log lambda_c = log n_c + [c < num_old_classes] log alpha

    Args:
        class_counts: training images per seen class, shape `(num_classes,)`. A count
            of 0 gives -inf.
        alpha: weight of the old classes, a number above 0 or a scalar tensor.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        Float32, or float64 if `alpha` is float64; shape `(num_classes,)`.
    """
    alpha = at_least_float32(alpha)
    log_counts = ops.log(ops.cast(class_counts, alpha.dtype))
    is_old = ops.arange(log_counts.shape[0], dtype="int32") < num_old_classes
    return log_counts + ops.cast(is_old, alpha.dtype) * ops.log(alpha)


def balanced_softmax_crossentropy(
    y_true: Tensor,
    logits: Tensor,
    class_counts: Tensor,
    alpha: float | Tensor = 1.0,
    num_old_classes: int = 0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy whose softmax weighs each class by its training count.

    Training with few exemplars of old classes favours the new classes. The log counts
    added to the logits absorb this prior. Predictions use the plain logits.

        loss_i = -log( lambda[y_i] exp(z[i, y_i]) / sum_c lambda[c] exp(z[i, c]) )
        lambda[c] = alpha n[c] for old classes c < num_old_classes, else n[c]

    Soft labels t give the mean over classes: loss_i = sum_k t[i, k] loss_i(y_i = k).

    Source: Jodelet, Liu, Murata, "Balanced Softmax Cross-Entropy for Incremental
    Learning", Eqs. 3 to 5. The form without alpha is by Ren et al., 2020,
    https://arxiv.org/abs/2007.10740; their released code agrees.

    Args:
        y_true: int labels in `[0, num_classes)`, shape `(batch,)` or `(batch, 1)`; or
            one-hot or soft labels, shape `(batch, num_classes)`. Dense prediction has
            more axes, such as `(batch, height, width)`.
        logits: float, shape `(batch, num_classes)`, before any softmax; for dense
            prediction `(batch, height, width, num_classes)`.
        class_counts: training images per seen class. A class with 0 leaves the
            softmax; a label of such a class gives inf.
        alpha: weight of the old classes, above 0; a number or a scalar tensor.
        num_old_classes: classes `[0, num_old_classes)` are old.
        label_smoothing: share of each label, from 0 to below 1, that is spread evenly
            over the classes with images.

    Returns:
        Float, shape `(batch,)`: one loss per image, in nats, not reduced, computed in
        float32 at least. For dense prediction `(batch, height, width)`.

    Raises:
        ValueError: the length of `class_counts` differs from the number of columns of
            the logits, the shape of the labels is not one of the above, there are more
            old classes than classes, or alpha is a number that is not above 0.

    Example:

    >>> loss = balanced_softmax_crossentropy([1], np.zeros((1, 2)), [9, 1])
    >>> round(float(loss[0]), 4)  # -log(1 / 10)
    2.3026
    """
    logits = at_least_float32(logits)
    is_number = isinstance(alpha, (float, numbers.Real))
    if is_number and not 0 < float(alpha) < math.inf:
        raise ValueError(
            f"`alpha` must be a finite number above 0. Received: alpha={alpha}"
        )
    # The type of alpha is that of the log counts. A number alone would be a float32.
    alpha = ops.convert_to_tensor(alpha, dtype=logits.dtype)
    prior = log_prior(class_counts, alpha, num_old_classes)
    require_count_per_column(prior, logits)
    require_old_among(num_old_classes, logits.shape[-1])
    is_absent = ops.cast(ops.equal(prior, -float("inf")), logits.dtype)
    weighted = logits + ops.maximum(prior, _LEAST_LOG_PRIOR)
    labels, are_soft = integer_or_soft_labels(y_true, logits)
    if are_soft:
        values = ops.categorical_crossentropy(labels, weighted, from_logits=True)
        absent_share = ops.sum(labels * is_absent, axis=-1)
    else:
        values = ops.sparse_categorical_crossentropy(labels, weighted, from_logits=True)
        absent_share = ops.take(is_absent, labels)
    if label_smoothing:
        # The labels are not mixed: a label out of range would become a row of zeros.
        spread = (1 - is_absent) / ops.sum(1 - is_absent)
        evenly = -ops.sum(spread * ops.log_softmax(weighted), axis=-1)
        values = (1 - label_smoothing) * values + label_smoothing * evenly
    return ops.where(absent_share > 0, float("inf"), values)


@keras.saving.register_keras_serializable(package="bsce_keras")
class BalancedSoftmaxLoss(keras.losses.Loss):
    """`balanced_softmax_crossentropy` for `model.compile(loss=...)`.

    Needs no other part of the package. docs/loss.md is its guide.

        model.compile(optimizer="sgd", loss=BalancedSoftmaxLoss([500, 500, 20]))

    On a balanced validation set `val_loss` can rise while the accuracy improves,
    because the loss expects classes in the proportions of `class_counts`. Monitor
    accuracy, or the plain cross-entropy, `keras.metrics.SparseCategoricalCrossentropy(
    from_logits=True)`. Do not add class weights, sample weights by class, or
    oversampling: they correct the same imbalance a second time.

    Args:
        class_counts: training images per class, in the order of the model's outputs: a
            list, an array or a tensor. `from_labels` and `from_dataset` count them.
        alpha: weight of the old classes, above 0; a number, or a `keras.Variable`
            that is read at every call and saved as its value.
        num_old_classes: number of first outputs that belong to old classes. Alpha
            weighs only these.
        from_logits: False if the model ends in a softmax. The loss warns if the
            outputs contradict it. A softmax that the loss finds is replaced by its
            input, as in Keras's losses.
        label_smoothing: share of each label, from 0 to below 1, that is spread evenly
            over the classes with images.
        reduction, name: as for every Keras loss.
        dtype: "float64" computes in float64, every other choice in float32.

    Raises:
        ValueError: the counts are not a list of whole numbers, or are negative, above
            2**53 or all 0; alpha is not a normal float32 number above 0, or is given
            without old classes; there are more old classes than classes; label
            smoothing is out of range; `from_logits` is not a bool. An eager call
            raises it if a label belongs to a class whose count is 0. In graphs the
            loss of such a label is inf.
    """

    def __init__(
        self,
        class_counts: Tensor,
        alpha: float | Tensor = 1.0,
        num_old_classes: int = 0,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "balanced_softmax",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=loss_dtype(dtype))
        self.class_counts = checked_counts(class_counts)
        num_classes = len(self.class_counts)
        if not (is_count(num_old_classes) and num_old_classes <= num_classes):
            raise ValueError(
                "`num_old_classes` must be a whole number from 0 to the number of "
                f"classes, {num_classes}. Received: {num_old_classes}"
            )
        self.num_old_classes = int(num_old_classes)
        value = _alpha_value(alpha)
        is_variable = hasattr(alpha, "assign")
        self.alpha = alpha if is_variable else value
        if not self.num_old_classes and (value != 1 or is_variable):
            raise ValueError(
                "`alpha` weighs the old classes and needs at least one. Give "
                "`num_old_classes`, or leave `alpha` out. "
                f"Received: alpha={value}, num_old_classes=0"
            )
        # Type checkers do not count float among numbers.Real.
        is_number = isinstance(label_smoothing, (float, numbers.Real))
        if not (is_number and 0 <= label_smoothing < 1):
            raise ValueError(
                "`label_smoothing` must be a number from 0 to below 1. "
                f"Received: {label_smoothing!r}"
            )
        self.label_smoothing = float(label_smoothing)
        if not isinstance(from_logits, (bool, np.bool_)):
            raise ValueError(
                f"`from_logits` must be True or False. Received: {from_logits!r}"
            )
        self.from_logits = bool(from_logits)
        self._absent = [c for c, count in enumerate(self.class_counts) if not count]
        if self._absent:
            warnings.warn(
                f"`class_counts` is 0 for classes {self._absent}. The softmax omits "
                "these classes, and their labels give a loss of inf.",
                stacklevel=2,
            )

    @classmethod
    def from_labels(cls, labels: Tensor, num_classes: int, **options: Any) -> Self:
        """Loss with the counts of the training labels, in the order of the outputs.

        Args:
            labels: all training labels: whole numbers in `[0, num_classes)` of any
                shape, or one-hot, shape `(..., num_classes)`.
            num_classes: number of outputs of the model.
            **options: further arguments of the loss.

        Raises:
            ValueError: the labels are soft, not whole numbers, or out of range.
        """
        return cls(count_labels(labels, num_classes), **options)

    @classmethod
    def from_dataset(
        cls, dataset: Any, num_classes: int | None = None, **options: Any
    ) -> Self:
        """Loss with the counts of a training data set, which is read once.

        Args:
            dataset: `tf.data.Dataset` of `(images, labels)`, batched as for
                `model.fit`, before `repeat` and MixUp.
            num_classes: number of outputs of the model. If None:
                `len(dataset.class_names)`, the width of one-hot labels, or the largest
                label plus 1.
            **options: further arguments of the loss.

        Raises:
            ValueError: the data set is infinite, has only images, or is not batched;
                the labels are soft, not whole numbers, or out of range.
        """
        return cls(count_dataset(dataset, num_classes), **options)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        logits = logits_of(y_pred, self.from_logits)
        if self._absent:
            self._refuse_absent_labels(y_true, logits)
        return balanced_softmax_crossentropy(
            y_true,
            logits,
            np.array(self.class_counts, "float64"),
            self.alpha,
            self.num_old_classes,
            self.label_smoothing,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_counts": self.class_counts,
            "alpha": float(ops.convert_to_numpy(self.alpha)),
            "num_old_classes": self.num_old_classes,
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "dtype": self.dtype,
        }

    def _refuse_absent_labels(self, y_true, logits):
        labels, are_soft = integer_or_soft_labels(y_true, logits)
        values = values_if_known(labels)
        if values is None:
            return
        if are_soft:
            seen = [c for c in self._absent if np.any(values[..., c] > 0)]
        else:
            seen = [c for c in self._absent if np.any(values == c)]
        if seen:
            raise ValueError(
                "The count in `class_counts` must be above 0 for every class with "
                f"labels. Received: labels of classes {seen}, whose count is 0. Give "
                "the number of training images of these classes."
            )


def _alpha_value(alpha):
    """Alpha as a float, from a number or a scalar tensor."""
    value = alpha
    if not isinstance(alpha, numbers.Real) and getattr(alpha, "shape", None) == ():
        value = ops.convert_to_numpy(alpha).item()
    least, largest = _FLOAT32_LIMITS
    if not (isinstance(value, numbers.Real) and least <= value <= largest):
        raise ValueError(
            "`alpha` must be a finite number above 0 that float32 holds, from "
            f"{least:.2g} to {largest:.2g}. Received: alpha={value!r}"
        )
    return float(value)
