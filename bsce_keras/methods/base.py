"""Method: a head, a backbone variant, and the loss terms of a step."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras

from bsce_keras.methods.classification import classification_values
from bsce_keras.models.heads import LinearHead

# Phases of a step, see `learner.step_phase.StepPhase`.
ADOPTION = "bsce_keras.learner.adoption_phase:AdoptionPhase"
MAIN = "bsce_keras.learner.main_phase:MainPhase"
PIXELS = "bsce_keras.learner.pixel_phase:PixelPhase"
FINETUNING = "bsce_keras.learner.finetuning_phase:FinetuningPhase"


@dataclasses.dataclass(frozen=True)
class StepContext:
    """Facts about one step that a method may use.

    Args:
        num_old_classes: number of classes before this step; 0 at the base step.
        num_new_classes: number of classes of this step.
        class_counts: training images per seen class, including the memory.
        classification_loss: one of `config.classification_losses`.
        alpha: weight of the old classes; a number, or the learned variable.
        step_sizes: number of classes of each step up to this one; the sum is
            `num_classes`.
        has_anchors: updates see anchors in addition to their batch.
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
    """One weighted term of the training loss.

    Args:
        name: name in logs, not that of another term, `loss`, `regularization` or
            `train_accuracy`.
        weight: factor in the sum; logs hold the unweighted term.
        values: `(labels, student, teacher) -> (batch,)`, one value per image. It may
            return `(values, mask)` instead; the mean is then over images with mask 1.

    `student` and `teacher` are the classifiers' output dictionaries; `teacher` is None
    at the base step. With anchors, both also hold `anchor_features`, shape
    `(num_anchors, d)`. `teacher` then holds `anchor_edges`, bool, shape
    `(num_anchors, num_anchors)`, true at i < j where the memory's graph joins both.
    These entries are the same on all replicas. A term of anchors returns one value, and
    a mask that is 0 to leave the term out.
    """

    name: str
    weight: float
    values: Callable


@dataclasses.dataclass(frozen=True)
class PixelObjective:
    """Objective and schedule of the optimisation of exemplars' pixels.

    Args:
        loss: `(features, labels, query_features, query_labels) -> ()`: loss on the
            queries of a head that was trained on the exemplars' features.
        learning_rate: rate of Adam on the pixels, in normalised units.
        passes: passes over the step's new images, the queries of its new exemplars.
        old_share: updates for each half of the old exemplars, as a fraction of those
            for the new ones.
        classes_at_once: largest number of classes whose exemplars are optimised
            together. It bounds memory use, because the activations of all their
            exemplars are stored.
    """

    loss: Callable
    learning_rate: float
    passes: int
    old_share: float
    classes_at_once: int


CLASSIFICATION = "classification"


class Method:
    """Base of all methods: a linear head and only the classification term.

    Classification loss and method are independent: a method only sets the weight of its
    classification term. Hooks are listed in the order in which a step calls them.

    Attributes:
        variant: variant of the backbone.
        phases: phases of a step in order, as `"module:StepPhase"`. Each phase decides
            for each step if it applies.
        uses_teacher: some term uses the frozen previous model.
        finetunes_with_batch_statistics: batch normalisation runs in training mode
            during balanced fine-tuning.
        selects_again_after_finetuning: exemplars are selected again with the fine-tuned
            network.
        starts_afresh: every step trains a new network.
        num_anchor_edges: number of edges of the memory's graph that every update of an
            increment draws. Their ends are its anchors. 0 turns anchors off.
        mirrors_exemplars: `predictor_head` also gets the features of mirrored
            exemplars.
        Parameters: frozen dataclass of hyper-parameters with defaults, for a method
            outside this package. None for those of the published method it extends.
    """

    variant: ClassVar[str] = "il_baseline"
    phases: ClassVar[tuple[str, ...]] = (MAIN, FINETUNING)
    uses_teacher: ClassVar[bool] = True
    finetunes_with_batch_statistics: ClassVar[bool] = False
    selects_again_after_finetuning: ClassVar[bool] = False
    starts_afresh: ClassVar[bool] = False
    num_anchor_edges: ClassVar[int] = 0
    mirrors_exemplars: ClassVar[bool] = False
    Parameters: ClassVar[type | None] = None

    def __init__(self, parameters):
        self.parameters = parameters

    def make_head(self, num_old_classes, num_new_classes):
        """Returns the head of a step, a layer from features to a dict with `logits`."""
        return LinearHead(num_old_classes + num_new_classes)

    def training_head(self, num_old_classes, num_new_classes):
        """Returns the head that the main phase trains; by default that of the step."""
        return self.make_head(num_old_classes, num_new_classes)

    def restored_head(self, num_old_classes, num_new_classes, weights):
        """Returns a head for saved weights; by default `make_head`.

        Args:
            num_old_classes, num_new_classes: as of `make_head`.
            weights: arrays of the classifier's weights; the head's are the last ones.
        """
        return self.make_head(num_old_classes, num_new_classes)

    def imprint(self, head, features_of_classes, seed):
        """Initialises the new classes of a grown head; by default they stay random.

        Args:
            head: head that already has the old classes.
            features_of_classes: iterator over the new classes. It yields features
                `(n, d)` of their training images, by the previous model in inference
                mode. They are computed only when a method asks for them.
            seed: integer seed of random choices.
        """

    def classification_weight(self, context):
        """Returns the weight of the classification term."""
        return 1.0

    def classification_values(self, context):
        """Returns the `LossTerm.values` of the classification term."""
        return classification_values(context)

    def loss_terms(self, context):
        """Returns the terms of this step, at least one."""
        return [
            LossTerm(
                CLASSIFICATION,
                self.classification_weight(context),
                self.classification_values(context),
            )
        ]

    def finetuning_terms(self, context):
        """Returns the step's terms with the weight of classification set to 1.

        Balanced fine-tuning trains on them.

        Source: LUCIR's and PODNet's released code. The paper calls its balanced
        fine-tuning of IL-Baseline "similar to" theirs (Jodelet et al., section 4.3.4).
        """
        return [
            dataclasses.replace(term, weight=1.0)
            if term.name == CLASSIFICATION
            else term
            for term in self.loss_terms(context)
        ]

    def after_training(self, head, context, set_aside):
        """Corrects the head after the main phase; by default, the head stays.

        Args:
            head: head of the trained student.
            context: the `StepContext`.
            set_aside: logits `(n, num_classes)` and labels `(n,)` of the images that
                the memory sets aside. They are of all seen classes, and training never
                used them. None if the memory does not set images aside.
        """

    def pixel_objective(self, head):
        """Returns the `PixelObjective` of exemplars.

        It is called only if `PIXELS` is one of the phases.

        Args:
            head: head of the student after its main phase, in float32.
        """
        return None

    def predictor_head(self, features_of_classes):
        """Returns a head that replaces the trained one in predictions, or None.

        Args:
            features_of_classes: iterator over the seen classes. It yields features
                `(n, d)` of their exemplars, and of the mirrored ones with
                `mirrors_exemplars`. They are computed only when a method asks for them.
        """
        return None
