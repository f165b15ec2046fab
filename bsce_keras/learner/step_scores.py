"""Scores of a finished step: fields of its record that come from images."""

import numpy as np

from bsce_keras.evaluation.calibration import probabilities_of
from bsce_keras.evaluation.confusion import confusion_matrix
from bsce_keras.evaluation.metrics import group_accuracy, tally
from bsce_keras.evaluation.scores import alpha_curve, scored
from bsce_keras.learner.calibration import calibration
from bsce_keras.runtime.errors import RunError


def step_scores(learner, predictor, memory, step, test):
    """Scores a predictor on the test images of all seen classes.

    With validation images in place of test images, the curve over alpha is added. If
    the predictor has a separate head, the accuracies of both heads are added.

    Args:
        learner: the `Learner`.
        predictor: the model that its `predictor` returned.
        memory: the `ReplayMemory` after the step.
        step: the `Step`.
        test: `Examples` of the seen classes.

    Returns:
        `(fields, probabilities)`: fields of a `StepRecord`, and the served
        probabilities of the test images, shape `(n, num_classes)`.
    """
    config, labels, old = learner.config, test.labels, step.num_old_classes
    has_validation = config.stream.validation_share > 0
    fields = {}
    with learner.serving(predictor) as logits_of:
        if config.calibrate:
            validation = test if has_validation else None
            fields = calibration(logits_of, step, memory, validation)
        logits = _logits(logits_of, test, step)
    probabilities = probabilities_of(logits, fields.get("temperature", 1.0))
    confusion, further = scored(logits, probabilities, labels, old)
    fields |= {"confusion": confusion, "further": further}
    if has_validation:
        fields["accuracy_by_alpha"] = alpha_curve(probabilities, labels, old)
    if predictor is not learner.classifier:
        with learner.serving(learner.classifier) as logits_of:
            by_head = _logits(logits_of, test, step).argmax(axis=1)
        by_head = confusion_matrix(by_head, labels, step.num_classes)
        fields["nme_accuracy"] = _accuracy(confusion)
        fields["head_accuracy"] = _accuracy(by_head)
    return fields, probabilities


def _accuracy(confusion):
    return group_accuracy(tally(confusion), 0, len(confusion))


def _logits(logits_of, test, step):
    """Returns logits of test images; an empty array where there are none.

    Raises:
        RunError: logits are not finite.
    """
    if not len(test):
        return np.empty((0, step.num_classes))
    logits = logits_of(test.images)
    # -inf may leave classes out, but not all of them.
    if not np.isfinite(logits.max(axis=1)).all():
        raise RunError(
            "The network gives logits of test images that are not finite. Start "
            "another --run_dir with a lower --learning_rate or --precision=float32. "
            "If the method is your own, correct its `after_training` or "
            "`predictor_head`."
        )
    return logits
