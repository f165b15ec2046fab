"""Table of the classification losses that methods can be combined with.

A new loss needs its function in `bsce_keras.losses` and its entry here. Imports no
TensorFlow.
"""

import dataclasses

DEFAULT = "default"


@dataclasses.dataclass(frozen=True)
class ClassificationLoss:
    """Properties of a classification loss.

    Args:
        values: "module:function" of `(labels, logits, *arguments) -> (batch,)`, or None
            for a loss that only the method `only_with` computes.
        arguments: attributes of the `StepContext` that `values` takes.
        counts_classes: the loss corrects for the number of images of each class, so
            sampling must keep these numbers.
        drops_absent_classes: classes without training images are left out of the
            softmax.
        takes_alpha: `--alpha` weighs the old classes.
        learns_alpha: alpha is learned on a balanced split of exemplars.
        least_new_classes: smallest number of new classes in an increment.
        at_base_step: loss that this one equals without old classes, None for itself.
        is_softmax_at_equal_counts: the loss equals the plain softmax at a base step
            whose classes have equally many images.
        while_finetuning: loss of the balanced fine-tuning, None for itself.
        title: name as the papers write it.
        only_with: the only method that has this loss, None if all methods have it.
    """

    values: str | None
    arguments: tuple[str, ...] = ()
    counts_classes: bool = False
    drops_absent_classes: bool = False
    takes_alpha: bool = False
    learns_alpha: bool = False
    least_new_classes: int = 1
    at_base_step: str | None = None
    is_softmax_at_equal_counts: bool = False
    while_finetuning: str | None = None
    title: str | None = None
    only_with: str | None = None


_BALANCED_SOFTMAX = ClassificationLoss(
    "bsce_keras.losses.balanced_softmax:balanced_softmax_crossentropy",
    ("class_counts", "alpha", "num_old_classes"),
    counts_classes=True,
    drops_absent_classes=True,
    is_softmax_at_equal_counts=True,
)

_LOSSES = {
    "softmax": ClassificationLoss(
        "bsce_keras.losses.softmax:softmax_crossentropy",
        is_softmax_at_equal_counts=True,
        title="Softmax",
    ),
    "balanced_softmax": dataclasses.replace(
        _BALANCED_SOFTMAX, takes_alpha=True, title="Balanced Softmax"
    ),
    "meta_balanced_softmax": dataclasses.replace(
        _BALANCED_SOFTMAX,
        learns_alpha=True,
        at_base_step="balanced_softmax",
        while_finetuning="balanced_softmax",
        title="Meta-Balanced Softmax",
    ),
    "separated_softmax": ClassificationLoss(
        "bsce_keras.losses.separated_softmax:separated_softmax_crossentropy",
        ("num_old_classes",),
        least_new_classes=2,
        at_base_step="softmax",
        is_softmax_at_equal_counts=True,
        while_finetuning="softmax",
        title="Separated Softmax",
    ),
    "rescaled_softmax": ClassificationLoss(
        "bsce_keras.losses.rescaled_softmax:rescaled_softmax_crossentropy",
        ("class_counts",),
        counts_classes=True,
        is_softmax_at_equal_counts=True,
        title="Rescaled Softmax",
    ),
    "nca": ClassificationLoss(None, title="NCA", only_with="podnet"),
}
CLASSIFICATION_LOSSES = tuple(_LOSSES)
# Choices of `--classification_loss`. A loss of only one method is its default.
LOSS_CHOICES = (
    DEFAULT,
    *(name for name, loss in _LOSSES.items() if loss.only_with is None),
)
# Losses that are equal at a base step whose classes have equally many images.
SOFTMAX_AT_EQUAL_COUNTS = frozenset(
    name for name, loss in _LOSSES.items() if loss.is_softmax_at_equal_counts
)


def loss_facts(name):
    """Returns the `ClassificationLoss` of a name, and plain defaults if unknown."""
    return _LOSSES.get(name, ClassificationLoss(None))


def at_base_step(name):
    """Returns the name of the loss that a loss equals without old classes."""
    return loss_facts(name).at_base_step or name


def while_finetuning(name):
    """Returns the name of the loss that balanced fine-tuning uses for a loss."""
    return loss_facts(name).while_finetuning or name
