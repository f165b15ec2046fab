"""What a step is trained on that is hardly meant: told, and trained all the same."""

import logging

import numpy as np

from bsce_keras.config.classification_losses import loss_facts

_log = logging.getLogger(__name__)

# Fewer updates in a whole step than this hardly move a network.
_FEW_UPDATES = 50


def warn_of_few_updates(step, num_images, training):
    """Tells of a step that ends before a network has moved.

    Args:
        step: the `Step`.
        num_images: of its pool.
        training: `TrainingConfig`.
    """
    per_epoch = -(-num_images // training.batch_size)
    if training.epochs * per_epoch < _FEW_UPDATES:
        _log.warning(
            "Step %d has %d epochs of %d updates, which is little to learn from. "
            "Lower --batch_size or raise --epochs.",
            step.index,
            training.epochs,
            per_epoch,
        )


def warn_of_no_oversampling(step, sampling, probabilities):
    """Tells of a sampling that was asked for and leaves every image drawn once.

    Args:
        step: the `Step`.
        sampling: one of `REPLAY_SAMPLINGS`, or a method's own.
        probabilities: what `draw_probabilities` made of it.
    """
    if sampling != "uniform" and step.num_old_classes and probabilities is None:
        _log.warning(
            "Step %d: --replay_sampling=%s changes nothing, for exemplars are not "
            "fewer than new images, or there are none.",
            step.index,
            sampling,
        )


def warn_of_one_class(step, context):
    """Tells of a classification loss that is always 0.

    Args:
        step: the `Step`.
        context: its `StepContext`.
    """
    num_choices = step.num_classes
    if loss_facts(context.classification_loss).drops_absent_classes:
        num_choices = np.count_nonzero(context.class_counts)
    if num_choices == 1:
        _log.warning(
            "Step %d: the classification loss has one class to choose from. It is "
            "always 0 and teaches nothing. Give the step more classes%s.",
            step.index,
            ", or keep exemplars of old ones" if step.num_old_classes else "",
        )
