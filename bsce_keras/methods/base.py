"""What a method is: a head, a backbone variant, and the loss terms of a step."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras

from bsce_keras.methods.classification import classification_values
from bsce_keras.models.heads import LinearHead

# Phases of a step, see `learner.step_phase.StepPhase`.
MAIN = "bsce_keras.learner.main_phase:MainPhase"
PIXELS = "bsce_keras.learner.pixel_phase:PixelPhase"
FINETUNING = "bsce_keras.learner.finetuning_phase:FinetuningPhase"


@dataclasses.dataclass(frozen=True)
class StepContext:
    """Facts of one step, all a method may know.

    Args:
        num_old_classes, num_new_classes: before and in this step; 0 old ones mean the
            base step.
        class_counts: training images per seen class, memory included.
        classification_loss: one of `config.classification_losses`.
        alpha: weight of the old classes; a number, or the variable that is learned.
        step_sizes: classes that each step so far brought, this one included; they add
            up to `num_classes`.
        has_anchors: whether updates see anchors besides their batch.
    """

    num_old_classes: int
    num_new_classes: int
    class_counts: tuple[int, ...]
    classification_loss: str
    alpha: float | keras.Variable = 1.0
    step_sizes: tuple[int, ...] = ()
    has_anchors: bool = False

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
            is None at the base step. Where updates see anchors, both also hold their
            `anchor_features`, shape `(num_anchors, d)`, and `teacher` which of them the
            memory's graph joins: `anchor_edges`, bool, shape `(num_anchors,
            num_anchors)`, true at i < j. These are the same on all replicas. A term of
            theirs is a pair of one value, and of a mask that leaves it out if it is 0.
    """

    name: str
    weight: float
    values: Callable


@dataclasses.dataclass(frozen=True)
class PixelObjective:
    """What the pixels of exemplars are optimised for, and how long.

    Args:
        loss: `(features, labels, query_features, query_labels) -> ()`: how badly a head
            that learned from the exemplars' features does on the queries'.
        learning_rate: of Adam on the pixels, in the network's normalised units.
        passes: over the step's new images, as queries for its new exemplars.
        old_share: of that number of updates, for either half of the old exemplars.
        classes_at_once: whose exemplars are optimised together, at most. It bounds the
            memory: activations of all their exemplars are kept.
    """

    loss: Callable
    learning_rate: float
    passes: int
    old_share: float
    classes_at_once: int


CLASSIFICATION = "classification"


class Method:
    """Base of all methods: a linear head and the classification term alone.

    The classification loss and the method are independent: a method only says how much
    its classification term weighs. Hooks come in the order in which a step calls them.

    Attributes:
        variant: of the backbone.
        phases: of a step, in order: `"module:StepPhase"`. A phase decides itself
            whether a step has it.
        uses_teacher: whether any term looks at the frozen previous model.
        finetunes_with_batch_statistics: whether batch normalisation goes on in training
            mode while balanced fine-tuning trains the class weights.
        selects_again_after_finetuning: whether the exemplars that fine-tuning used are
            chosen anew with the network it leaves.
        starts_afresh: whether every step trains a new network.
        num_anchor_edges: edges of the memory's graph whose ends every update of an
            increment sees besides its batch, as anchors; 0 for none.
        mirrors_exemplars: True if `predictor_head` gets the features of mirror images
            of the exemplars as well.
    """

    variant: ClassVar[str] = "il_baseline"
    phases: ClassVar[tuple[str, ...]] = (MAIN, FINETUNING)
    uses_teacher: ClassVar[bool] = True
    finetunes_with_batch_statistics: ClassVar[bool] = False
    selects_again_after_finetuning: ClassVar[bool] = False
    starts_afresh: ClassVar[bool] = False
    num_anchor_edges: ClassVar[int] = 0
    mirrors_exemplars: ClassVar[bool] = False

    def __init__(self, parameters):
        self.parameters = parameters

    def make_head(self, num_old_classes, num_new_classes):
        """The head of a step: a layer from features to a dictionary with `logits`."""
        return LinearHead(num_old_classes + num_new_classes)

    def imprint(self, head, features_of_classes, seed):
        """Starts the new classes of a grown head; by default they stay random.

        Args:
            head: with the old classes in place.
            features_of_classes: iterator over the new classes: features `(n, d)` of
                their training images by the previous model in inference mode. Nothing
                is computed for a method that does not look.
            seed: of random choices, a whole number.
        """

    def classification_weight(self, context):
        """Weight of the classification term."""
        return 1.0

    def classification_values(self, context):
        """`values` of the classification term."""
        return classification_values(context)

    def loss_terms(self, context):
        """The terms of this step; the classification term comes first."""
        return [
            LossTerm(
                CLASSIFICATION,
                self.classification_weight(context),
                self.classification_values(context),
            )
        ]

    def finetuning_terms(self, context):
        """The terms of balanced fine-tuning: the step's, classification at weight 1.

        Source: LUCIR's and PODNet's released code, which the paper's balanced
        fine-tuning of IL-Baseline is "similar to" (Jodelet et al., section 4.3.4).
        """
        classification, *others = self.loss_terms(context)
        return [dataclasses.replace(classification, weight=1.0), *others]

    def after_training(self, head, context, held_out):
        """Changes the head once the main phase is over; by default nothing.

        Args:
            head: of the student, trained.
            context: the `StepContext`.
            held_out: logits `(n, num_classes)` and labels `(n,)` of images of all seen
                classes that no step trained on, where the memory sets some aside; else
                None.
        """

    def pixel_objective(self, head):
        """Returns what exemplars are optimised for, a `PixelObjective`.

        Called only where `PIXELS` is one of the phases.

        Args:
            head: of the student after its main phase, in float32.
        """
        return None

    def predictor_head(self, features_of_classes):
        """A head to predict with instead of the trained one; by default None.

        Args:
            features_of_classes: iterator over the seen classes: features `(n, d)` of
                their exemplars, and of their mirror images with `mirrors_exemplars`.
                Nothing is computed for a method that does not look.
        """
        return None
