"""StepPhase: part of a step; the learner runs the phases of a step in order."""

import abc
from typing import ClassVar

import numpy as np

from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.phases import PhasePlan
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import StepContext


class StepPhase(abc.ABC):
    """Part of a step, such as the main training or balanced fine-tuning.

    Args:
        learner: the `Learner`; a phase trains or reads its classifier.

    Attributes:
        name: lower-case letters; used in checkpoints and on the progress line.
    """

    name: ClassVar[str]

    def __init__(self, learner):
        self.learner = learner

    def applies(self, step):
        """Returns True if a `Step` has this phase; by default, always."""
        return True

    @abc.abstractmethod
    def run(self, step, memory, stats):
        """Runs the phase and updates the memory.

        Args:
            step: the `Step`.
            memory: the `ReplayMemory`.
            stats: `TrainingStats` of the earlier phases; None in the first phase.

        Returns:
            `TrainingStats` of all phases so far.

        Raises:
            RunError: a loss or gradient is not finite.
            Stopped: on request, after a save.
        """

    def plan(self, step, schedule, first_draw=0):
        """Returns the `PhasePlan` of this phase of a step.

        Args:
            step: the `Step`.
            schedule, first_draw: see `PhasePlan`.
        """
        return PhasePlan(
            self.name,
            step.index,
            schedule,
            len(self.learner.plans),
            first_draw,
            is_followed=self.learner.phases_of(step)[-1] is not self,
            images_after=self.learner.images_after(step),
        )

    def context(self, step, pool):
        """Returns the `StepContext` of training on a pool of `Examples`."""
        config = self.learner.config
        counts = np.bincount(pool.labels, minlength=step.num_classes)
        return StepContext(
            step.num_old_classes,
            step.num_new_classes,
            tuple(counts.tolist()),
            config.method.classification_loss,
            config.method.alpha,
            self.learner.plans[step.index].step_sizes,
        )

    def trainer(
        self, student, context, terms, alpha=None, batch_statistics=True, anchors=None
    ):
        """Returns an `IncrementalTrainer` with the learner's teacher.

        Args:
            student: the classifier to train.
            context: the `StepContext`.
            terms: list of `LossTerm`.
            alpha: `LearnedAlpha` whose variable the terms use, or None.
            batch_statistics: batch normalisation runs in training mode.
            anchors: `Anchors`, or None.
        """
        return IncrementalTrainer(
            student,
            self.learner.teacher,
            terms,
            context,
            alpha,
            self.learner.config.method.meta_gradient,
            batch_statistics,
            anchors,
        )

    def learned_alpha(self, step):
        """Returns a new `LearnedAlpha`; None where the loss does not learn alpha.

        Call it inside the strategy's scope, so that all replicas share its variables.
        """
        method = self.learner.config.method
        if not (method.learns_alpha and step.num_old_classes):
            return None
        return LearnedAlpha(
            method.alpha_learning_rate,
            method.alpha_optimizer,
            method.alpha,
            method.alpha_statistics == "running",
        )
