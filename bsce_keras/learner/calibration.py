"""Calibration of a finished step: the temperature of its probabilities."""

import numpy as np

from bsce_keras.data.examples import Examples
from bsce_keras.evaluation.calibration import TRAINING, VALIDATION, fitted_temperature

# A temperature is one number, so that more images change it by rounding only.
_MOST_IMAGES = 5000


def calibration(logits_of, step, memory, validation=None):
    """Fits the temperature of the probabilities of a finished step.

    It is fitted to validation images if there are any, else to training images, those
    of old classes included that are replayed.

    Args:
        logits_of: function from images to logits, shape `(n, num_classes)`.
        step: the `Step`.
        memory: the `ReplayMemory` after the step.
        validation: `Examples` that no step trains on, or None.

    Returns:
        Dictionary: `temperature`, and `calibrated_on`, a key of `FITTED_TO`. It is
        empty where there are no images.
    """
    is_validation = validation is not None and len(validation) > 0
    images = validation if is_validation else _training_images(step, memory)
    if not len(images):
        return {}
    chosen = _spread(images, _MOST_IMAGES)
    logits = logits_of(chosen.images)
    return {
        "temperature": fitted_temperature(logits, chosen.labels, num_random=1),
        "calibrated_on": VALIDATION if is_validation else TRAINING,
    }


def _training_images(step, memory):
    """Returns the images of new classes, and those of old classes that are replayed."""
    replayed = memory.replay(step.earlier)
    if replayed is None or not step.num_old_classes:
        return step.examples
    # The memory holds exemplars of the new classes too.
    old = replayed.select(replayed.labels < step.num_old_classes)
    return Examples.concatenate([old, step.examples])


def _spread(examples, most):
    """Returns at most this number of examples, evenly spaced, so from all classes."""
    if len(examples) <= most:
        return examples
    return examples.select(np.arange(most) * len(examples) // most)
