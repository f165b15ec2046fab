"""What a method is: a head, a backbone variant, and the loss terms of a step."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras

from bsce_keras.losses import balanced_softmax_crossentropy
from bsce_keras.models.heads import LinearHead


@dataclasses.dataclass(frozen=True)
class StepContext:
    """Facts of one step, all a method may know.

    Args:
        num_old_classes, num_new_classes: before and in this step; 0 old ones mean the
            base step.
        class_counts: training images per seen class, memory included.
        classification_loss: `softmax`, `balanced_softmax` or `meta_balanced_softmax`.
        alpha: weight of the old classes; a number, or the variable that is learned.
    """

    num_old_classes: int
    num_new_classes: int
    class_counts: tuple[int, ...]
    classification_loss: str
    alpha: float | keras.Variable = 1.0

    @property
    def num_classes(self):
        return self.num_old_classes + self.num_new_classes


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """One addend of the training loss.

    Args:
        name: what it is tracked under.
        weight: what it is multiplied by in the sum; it is tracked without.
        values: `(labels, student, teacher) -> (batch,)`, one value per image, or a pair
            `(values, mask)` whose mean is taken over the images where mask is 1.
            `student` and `teacher` are the classifiers' output dictionaries; `teacher`
            is None at the base step.
    """

    name: str
    weight: float
    values: Callable


CLASSIFICATION = "classification"


class Method:
    """Base of all methods: the classification term alone.

    The classification loss and the method are independent: a method only says how much
    its classification term weighs.
    """

    head: ClassVar = LinearHead
    variant: ClassVar[str] = "il_baseline"
    uses_teacher: ClassVar[bool] = True

    def __init__(self, parameters):
        self.parameters = parameters

    def classification_weight(self, context):
        """Weight of the classification term."""
        return 1.0

    def loss_terms(self, context):
        """The terms of this step; the classification term comes first."""
        return [
            LossTerm(
                CLASSIFICATION,
                self.classification_weight(context),
                _classification_values(context),
            )
        ]


def _classification_values(context):
    """Plain softmax is the balanced one with equal counts."""
    if context.classification_loss == "softmax":
        counts, alpha = (1,) * context.num_classes, 1.0
    else:
        counts, alpha = context.class_counts, context.alpha

    def values(labels, student, teacher):
        return balanced_softmax_crossentropy(
            labels, student["logits"], counts, alpha, context.num_old_classes
        )

    return values
