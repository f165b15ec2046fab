"""Gradient of the validation loss with respect to alpha, in two forms.

Meta-Balanced Softmax (Jodelet et al., section 3.3, Algorithm 1) takes one virtual
update theta* of the network under the balanced softmax with weight alpha. The
validation loss is the plain cross-entropy of theta* on a batch of the alpha split, the
balanced split. Alpha moves against the gradient of this loss. Both functions return
that gradient exactly:

`nested_tapes` differentiates through the virtual update, as the algorithm is written.

`closed_form` uses that alpha enters only the log prior. Let q be the balanced softmax
and Q_b the sum of q_bk over old classes k. Then

    d L / d alpha = (w_c / alpha) mean_b(Q_b - [y_b old])
    d theta* / d alpha = -(lr w_c / alpha) grad_theta mean_b Q_b
    d CE_val / d alpha = < grad CE_val(theta*), d theta* / d alpha >

which needs first-order gradients only.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from bsce_keras.losses.balanced_softmax import balanced_softmax_crossentropy, log_prior
from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.softmax import softmax_crossentropy


@dataclasses.dataclass(frozen=True)
class BalancedTerm:
    """Balanced softmax term of one batch: sum over images, divided by `size`.

    Args:
        labels: int, shape `(batch,)`.
        class_counts, num_old_classes: as in `balanced_softmax_crossentropy`.
        weight: w_c, factor of the term in the training loss.
        size: images of the batch over all replicas. Sums over replicas are then means
            over the global batch.
    """

    labels: tf.Tensor
    class_counts: tf.Tensor
    num_old_classes: int
    weight: float
    size: tf.Tensor

    def loss(self, logits: Tensor, alpha: Tensor) -> Tensor:
        """Weighted loss, a scalar."""
        values = balanced_softmax_crossentropy(
            self.labels, logits, self.class_counts, alpha, self.num_old_classes
        )
        return self.weight * tf.reduce_sum(values) / tf.cast(self.size, values.dtype)

    def gradient_by_logits(self, logits: Tensor, alpha: Tensor) -> Tensor:
        """Gradient of the loss by the logits, shape `(batch, num_classes)`."""
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = self.loss(logits, alpha)
        return tape.gradient(loss, logits)

    def old_mass_gradient_by_logits(self, logits: Tensor, alpha: Tensor) -> Tensor:
        """Gradient by the logits of the weighted mean of Q_b / alpha.

        d Q_b / d z_bk = q_bk ([k old] - Q_b).
        """
        wide = at_least_float32(logits)
        prior = log_prior(self.class_counts, alpha, self.num_old_classes)
        shares = ops.softmax(wide + ops.cast(prior, wide.dtype))
        is_old = ops.cast(
            ops.arange(shares.shape[-1]) < self.num_old_classes, wide.dtype
        )
        mass = ops.sum(shares * is_old, axis=-1, keepdims=True)
        scale = self.weight / (
            ops.cast(alpha, wide.dtype) * ops.cast(self.size, wide.dtype)
        )
        return ops.cast(scale * shares * (is_old - mass), logits.dtype)


@dataclasses.dataclass(frozen=True)
class VirtualUpdate:
    """One optimizer update that is computed but not applied.

    Args:
        apply: `(gradients, values) -> values`, differentiable.
        sensitivity: `(gradients, tangents) -> tangents`: derivative of the result when
            the gradients move along `tangents`.
    """

    apply: Callable
    sensitivity: Callable


def closed_form(
    tape, logits, other_loss, term, values, alpha, update, validate, reduce
):
    """Gradient of the validation loss by alpha, from first-order gradients.

    Args:
        tape: persistent tape that watched `values` and recorded the forward pass.
        logits: logits of the training batch, recorded by the tape.
        other_loss: scalar: the training loss without the balanced term, already
            divided by the global batch size. None if there are no other terms.
        term: the `BalancedTerm` of the training batch.
        values: list of tensors, the parameters theta.
        alpha: scalar tensor.
        update: the `VirtualUpdate`.
        validate: `values -> scalar`: cross-entropy of a batch of the alpha split,
            divided by its global size.
        reduce: sums a list of tensors over replicas.

    Returns:
        Scalar, the same on every replica.
    """
    # Gradient of the whole loss, from the balanced term's gradient by the logits.
    targets, upstream = [logits], [term.gradient_by_logits(logits, alpha)]
    if other_loss is not None:
        targets.append(other_loss)
        upstream.append(tf.ones_like(other_loss))
    gradients = reduce(
        _filled(tape.gradient(targets, values, output_gradients=upstream), values)
    )
    tangents = reduce(
        _filled(
            tape.gradient(
                logits,
                values,
                output_gradients=term.old_mass_gradient_by_logits(logits, alpha),
            ),
            values,
        )
    )
    # The activations of the training batch are freed before those of the alpha split
    # are computed: both need as much memory.
    with tf.control_dependencies(tangents):
        virtual_values = update.apply(gradients, values)
    with tf.GradientTape() as validation_tape:
        validation_tape.watch(virtual_values)
        validation_loss = validate(virtual_values)
    slopes = reduce(
        _filled(validation_tape.gradient(validation_loss, virtual_values), values)
    )
    moves = update.sensitivity(gradients, tangents)
    return tf.add_n(
        [
            tf.cast(tf.reduce_sum(slope * move), alpha.dtype)
            for slope, move in zip(slopes, moves, strict=True)
        ]
    )


def nested_tapes(forward, term, values, alpha, update, validate, reduce):
    """Same gradient as `closed_form`, by differentiating through the virtual update.

    Args:
        forward: `values -> (logits, other_loss)` of the training batch.
        term, values, alpha, update, validate, reduce: as in `closed_form`. `reduce`
            must be differentiable.

    Returns:
        Scalar, the same on every replica.
    """
    with tf.GradientTape() as outer:
        outer.watch(alpha)
        with tf.GradientTape() as inner:
            inner.watch(values)
            logits, other_loss = forward(values)
            loss = term.loss(logits, alpha)
            if other_loss is not None:
                loss += tf.cast(other_loss, loss.dtype)
        gradients = reduce(_filled(inner.gradient(loss, values), values))
        validation_loss = validate(update.apply(gradients, values))
    return reduce([outer.gradient(validation_loss, alpha)])[0]


def alpha_gradient(
    model: keras.Model,
    alpha: float | Tensor,
    train_batch: tuple[Tensor, Tensor],
    validation_batch: tuple[Tensor, Tensor],
    *,
    class_counts: Tensor,
    num_old_classes: int,
    learning_rate: float,
    classification_weight: float = 1.0,
    other_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    method: str = "closed_form",
) -> Tensor:
    """Exact d(validation loss) / d(alpha) of Algorithm 1, for plain gradient descent.

        theta* = theta - learning_rate grad_theta [ w_c mean L_bal(alpha) + other ]
        returns d mean CE(model(theta*, validation images)) / d alpha

    Batch normalisation uses batch statistics. The variables of the model do not
    change.

    Args:
        model: built `keras.Model` from images to logits.
        alpha: number above 0.
        train_batch, validation_batch: `(images, labels)`.
        class_counts: training images per seen class.
        num_old_classes: number of old classes, the first ones, which alpha weighs.
        learning_rate: rate of the virtual update.
        classification_weight: w_c.
        other_loss: `(images, logits) -> scalar`, added to the training loss.
        method: `closed_form` or `nested_tapes`: same result, different cost.

    Returns:
        Scalar tensor.

    Raises:
        ValueError: unknown method, the model is not built or has no weights to train,
            alpha is not a finite number above 0, or `other_loss` is not a scalar.

    Source: Jodelet et al., Algorithm 1. It prints the virtual update without a rate;
    the caller gives the current rate.
    """
    _check(model, alpha, method)
    images, labels = train_batch
    values = [tf.convert_to_tensor(v.value) for v in model.trainable_variables]
    alpha = tf.constant(float(alpha), at_least_float32(values[0]).dtype)
    counts = (class_counts, num_old_classes)
    labels = tf.convert_to_tensor(labels)
    term = BalancedTerm(labels, *counts, classification_weight, tf.shape(labels)[0])
    update = _plain_update(tf.constant(learning_rate, values[0].dtype))
    forward = _forward_of(model, images, other_loss)
    validate = _validation_of(model, *validation_batch)
    rest = (term, values, alpha, update, validate, _unreduced)
    if method == "nested_tapes":
        return nested_tapes(forward, *rest)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        logits, other = forward(values)
    return closed_form(tape, logits, other, *rest)


def _check(model, alpha, method):
    if method not in ("closed_form", "nested_tapes"):
        raise ValueError(
            "`method` must be 'closed_form' or 'nested_tapes'. "
            f"Received: method={method!r}"
        )
    if not model.trainable_variables:
        raise ValueError(
            "`model` needs weights to train. Call it on a batch first if it is not "
            f"built. Received: {model.name}, built={model.built}"
        )
    if not 0 < float(alpha) < math.inf:
        raise ValueError(
            f"`alpha` must be a finite number above 0. Received: alpha={float(alpha)}"
        )


def _forward_of(model, images, other_loss):
    """Returns `values -> (logits, other_loss)` of the training batch."""

    def forward(values):
        logits = _logits(model, values, images)
        if other_loss is None:
            return logits, None
        other = ops.convert_to_tensor(other_loss(images, logits))
        if len(other.shape):
            raise ValueError(
                "`other_loss` must return a scalar. Received: a tensor of shape "
                f"{tuple(other.shape)}. Return its mean over the batch."
            )
        return logits, other

    return forward


def _validation_of(model, images, labels):
    """Returns `values -> scalar`, the validation loss."""

    def validate(values):
        logits = _logits(model, values, images)
        return tf.reduce_mean(softmax_crossentropy(labels, logits))

    return validate


def _plain_update(rate):
    """Returns the `VirtualUpdate` of gradient descent at a rate."""
    return VirtualUpdate(
        apply=lambda gradients, start: [
            value - rate * gradient
            for value, gradient in zip(start, gradients, strict=True)
        ],
        sensitivity=lambda _, tangents: [-rate * tangent for tangent in tangents],
    )


def _logits(model, values, images):
    """Logits of a model with other trainable values; its variables do not change."""
    state = [v.value for v in model.non_trainable_variables]
    return model.stateless_call(values, state, images, training=True)[0]


def plain_crossentropy(labels, logits):
    """Softmax cross-entropy, one value per image, in at least float32."""
    return ops.sparse_categorical_crossentropy(
        ops.reshape(ops.cast(labels, "int32"), (-1,)),
        at_least_float32(logits),
        from_logits=True,
    )


def _filled(gradients, values):
    """Replaces None by zeros where a loss does not depend on a parameter."""
    return [
        tf.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, values, strict=True)
    ]


def _unreduced(tensors):
    return tensors
