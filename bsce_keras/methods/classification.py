"""The classification losses that every method can be combined with, by name."""

from bsce_keras.losses import (
    balanced_softmax_crossentropy,
    rescaled_softmax_crossentropy,
    separated_softmax_crossentropy,
)


def classification_values(context):
    """`LossTerm.values` of the loss that a `StepContext` names."""
    loss = _LOSSES[context.classification_loss]

    def values(labels, student, teacher):
        return loss(labels, student["logits"], context)

    return values


def _softmax(labels, logits, context):
    """The balanced softmax of equal counts."""
    return balanced_softmax_crossentropy(labels, logits, (1,) * context.num_classes)


def _balanced_softmax(labels, logits, context):
    return balanced_softmax_crossentropy(
        labels, logits, context.class_counts, context.alpha, context.num_old_classes
    )


def _separated_softmax(labels, logits, context):
    return separated_softmax_crossentropy(labels, logits, context.num_old_classes)


def _rescaled_softmax(labels, logits, context):
    return rescaled_softmax_crossentropy(labels, logits, context.class_counts)


_LOSSES = {
    "softmax": _softmax,
    "balanced_softmax": _balanced_softmax,
    "meta_balanced_softmax": _balanced_softmax,
    "separated_softmax": _separated_softmax,
    "rescaled_softmax": _rescaled_softmax,
}
