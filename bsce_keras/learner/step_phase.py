"""StepPhase: a part of a step; the learner runs the phases of a step in order."""

import abc
from typing import ClassVar

import numpy as np

from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import StepContext


class StepPhase(abc.ABC):
    """A part of a step, such as the main training or balanced fine-tuning.

    Args:
        learner: the `Learner`, whose classifier a phase trains or reads.

    Attributes:
        name: lower-case letters; used in checkpoints and on the progress line.
    """

    name: ClassVar[str]

    def __init__(self, learner):
        self.learner = learner

    def applies(self, step):
        """Returns whether a `Step` has this phase; by default, every step has."""
        return True

    @abc.abstractmethod
    def run(self, step, memory, stats, is_followed):
        """Runs the phase and brings the memory up to date.

        Args:
            step: the `Step`.
            memory: the `ReplayMemory`.
            stats: `TrainingStats` of the phases before; None in the first phase.
            is_followed: another phase of the step begins where this one ends.

        Returns:
            `TrainingStats` of all phases so far.

        Raises:
            RunError: a loss or gradient that is not finite.
            Stopped: on request, after a save.
        """

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
        """Returns an `IncrementalTrainer` against the learner's teacher.

        Args:
            student: the classifier to train.
            context: the `StepContext`.
            terms: list of `LossTerm`.
            alpha: `LearnedAlpha` whose variable the terms use, or None.
            batch_statistics: batch normalisation is in training mode.
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
        """Returns a new `LearnedAlpha`, or None where the loss learns none.

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
