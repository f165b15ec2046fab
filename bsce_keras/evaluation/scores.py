"""Scores of one step that need logits or whole rows of the confusion matrix.

Definitions follow methods of the field: top-5 accuracy, expected calibration error
(Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599) and recency bias (Ahn et al.,
SS-IL, ICCV 2021).
"""

import numpy as np

from bsce_keras.evaluation.confusion import confusion_matrix

_TOP = 5
_BINS = 15
DEFINITIONS = {
    "top5_accuracy": (
        "share of images whose class is among the 5 largest logits; undefined for "
        "fewer than 5 seen classes"
    ),
    "calibration_error": (
        "expected calibration error: 15 bins of equal width over the largest "
        "probability; mean of |accuracy - confidence| weighted by the images of a bin"
    ),
    "old_calibration_error": "calibration_error over images of old classes",
    "new_calibration_error": "calibration_error over images of new classes",
    "old_called_new": "share of images of old classes predicted as a new class",
    "new_called_old": "share of images of new classes predicted as an old class",
}

# Columns of `alpha_curve`.
CURVE = ("alpha", "accuracy", "old_accuracy", "new_accuracy")


def scored(logits, probabilities, labels, num_old_classes):
    """Returns the confusion matrix and further scores of one step.

    Predictions come from the logits, because division by a temperature may make ties.

    Args:
        logits: shape `(n, num_classes)`.
        probabilities: those that are served, of the same shape.
        labels: true classes in arrival order, shape `(n,)`.
        num_old_classes: number of classes seen before the step.

    Returns:
        `(confusion, further)`: the matrix of `confusion_matrix`, and a dictionary of
        the scores of `DEFINITIONS`, NaN where undefined.
    """
    confusion = confusion_matrix(logits.argmax(axis=1), labels, logits.shape[1])
    errors = [
        calibration_error(probabilities[chosen], labels[chosen])
        for chosen in (labels >= 0, labels < num_old_classes, labels >= num_old_classes)
    ]
    values = top_accuracy(logits, labels, _TOP), *errors
    values += recency_bias(confusion, num_old_classes)
    return confusion, dict(zip(DEFINITIONS, values, strict=True))


def top_accuracy(logits, labels, k):
    """Share of images whose class has one of the k largest logits.

    Returns:
        Float; NaN for fewer than k classes or without images.
    """
    if logits.shape[1] < k or not len(labels):
        return float("nan")
    largest = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    return float((largest == np.asarray(labels)[:, None]).any(axis=1).mean())


def calibration_error(probabilities, labels, bins=_BINS):
    """Expected calibration error of the predicted class.

        sum_m n_m / n |accuracy_m - confidence_m|

    Bin m holds the images whose largest probability is in `(m / bins, (m + 1) / bins]`.
    Confidence is the mean of these probabilities.

    Args:
        probabilities: shape `(n, num_classes)`.
        labels: true classes, shape `(n,)`.
        bins: number of bins of equal width.

    Returns:
        Float; NaN without images.
    """
    if not len(labels):
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, correct - confidence, bins)
    return float(np.abs(gaps).sum() / len(labels))


def recency_bias(confusion, num_old_classes):
    """Shares of images of old classes called new, and of new classes called old.

    Returns:
        Two floats; NaN where there are no such images.
    """
    old, new = confusion[:num_old_classes], confusion[num_old_classes:]
    return (
        _share(old[:, num_old_classes:].sum(), old.sum()),
        _share(new[:, :num_old_classes].sum(), new.sum()),
    )


def harmonic_mean(old, new):
    """Harmonic mean `2 old new / (old + new)` of two accuracies.

    Returns:
        Float; NaN if one of them is undefined, 0 if both are 0.

    >>> harmonic_mean(0.2, 0.6)
    0.3
    """
    if old is None or new is None:
        return float("nan")
    return 2 * old * new / (old + new) if old + new else 0.0


def accuracies_by_alpha(probabilities, labels, num_old_classes, alphas):
    """Accuracies of a finished step after its old logits are moved by log(alpha).

    A softmax of moved logits is proportional to the probabilities times alpha. The
    prediction is therefore the largest of `alpha p_c` over old and `p_c` over new
    classes. See `models.classifier.with_alpha`.

    Args:
        probabilities: shape `(n, num_classes)`.
        labels: true classes in arrival order, shape `(n,)`.
        num_old_classes: number of classes before the step.
        alphas: positive numbers.

    Yields:
        `(alpha, accuracy, old, new)`; NaN where there are no images. Nothing without
        old classes.
    """
    if not num_old_classes:
        return
    old, new = np.split(probabilities, [num_old_classes], axis=1)
    # The prediction is the best old or the best new class, for every alpha.
    best_old, best_new = old.max(axis=1).astype(np.float64), new.max(axis=1)
    old_is_right = old.argmax(axis=1) == labels
    new_is_right = num_old_classes + new.argmax(axis=1) == labels
    is_old = labels < num_old_classes
    for alpha in alphas:
        says_old = alpha * best_old >= best_new
        correct = np.where(says_old, old_is_right, new_is_right)
        groups = correct, correct[is_old], correct[~is_old]
        yield alpha, *(_share(group.sum(), len(group)) for group in groups)


def alpha_curve(probabilities, labels, num_old_classes):
    """Accuracies of a finished step by alphas from 1/32 to 32, each sqrt(2) apart.

    Args:
        probabilities, labels, num_old_classes: as in `accuracies_by_alpha`.

    Returns:
        Dictionary of equally long lists: `alpha`, `accuracy`, `old_accuracy` and
        `new_accuracy`; None without images or old classes.
    """
    if not (num_old_classes and len(labels)):
        return None
    alphas = np.exp2(np.arange(-10, 11) / 2).tolist()
    rows = accuracies_by_alpha(probabilities, labels, num_old_classes, alphas)
    columns = zip(*rows, strict=True)
    values = ([None if np.isnan(v) else v for v in column] for column in columns)
    return dict(zip(CURVE, values, strict=True))


def _share(part, whole):
    return float(part / whole) if whole else float("nan")
