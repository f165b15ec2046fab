"""Metrics: every score of this package, computed from confusion matrices by NumPy.

The confusion matrix of step t has shape `(N_t, N_t)`. Rows are true classes, columns
predicted classes, both in arrival order. Entries count test images. Predictions are the
argmax over all N_t seen classes, also if only a group of classes is scored. Scores are
fractions in [0, 1]. A score without test images is NaN. All scores follow from the
`Tally` of a matrix, which is N_t times smaller.
"""

import math
from typing import NamedTuple

import numpy as np

DEFINITIONS = {
    "accuracy": (
        "A_t: share of the images to be scored (see evaluation: the test images, or "
        "some held out) of all classes seen up to step t that the model of step t "
        "classifies correctly, argmax over all seen classes"
    ),
    "base_accuracy": "A_t restricted to images of the classes of step 0",
    "old_accuracy": "A_t restricted to images of classes seen before step t",
    "new_accuracy": "A_t restricted to images of the classes of step t",
    "nme_accuracy": (
        "A_t of the nearest-mean-of-exemplars classifier, where the method predicts by "
        "it; `accuracy` and all other scores are then those of this classifier"
    ),
    "head_accuracy": "A_t of the trained head, where the method predicts by another",
    "average_incremental_accuracy": (
        "unweighted mean of A_0 ... A_T, the base step included"
    ),
    "final_accuracy": "A_T",
    "final_base_accuracy": "base_accuracy of step T",
    "final_old_accuracy": "old_accuracy of step T",
    "final_new_accuracy": "new_accuracy of step T",
    "forgetting": (
        "mean over the class groups of steps j < T of (best accuracy on group j at "
        "any step j <= l < T) - (accuracy on group j at step T); may be negative"
    ),
}


class Tally(NamedTuple):
    """Test images of every class, and those that are classified correctly.

    Args:
        images, correct: int64, shape `(N,)`.
    """

    images: np.ndarray
    correct: np.ndarray


def tally(confusion):
    """Returns the `Tally` of a confusion matrix: its row sums and its diagonal."""
    confusion = np.asarray(confusion)
    return Tally(confusion.sum(axis=1, dtype=np.int64), np.diag(confusion).astype(int))


def average_incremental_accuracy(step_accuracies):
    """Unweighted mean of the accuracies of all steps, the base step included.

        (A_0 + ... + A_T) / (T + 1)

    A_t is the accuracy over the test images of every class seen up to step t. Steps
    are not weighted by their number of classes.

    Args:
        step_accuracies: A_0 ... A_T, shape `(T + 1,)`. None counts as NaN.

    Returns:
        Float; NaN if any accuracy is NaN.

    Raises:
        ValueError: `step_accuracies` is empty or not one-dimensional.

    >>> average_incremental_accuracy([0.9, 0.6, 0.3])
    0.6
    """
    accuracies = np.asarray(step_accuracies, dtype=float)
    if accuracies.ndim != 1 or not accuracies.size:
        raise ValueError(
            "`step_accuracies` needs one accuracy per step, shape (T + 1,). "
            f"Received: shape {accuracies.shape}"
        )
    return float(accuracies.mean())


def forgetting(accuracy_matrix):
    """Mean loss of accuracy on earlier classes at the last step (Chaudhry et al.).

        F = 1/T sum_{j < T} ( max_{j <= l < T} R[l, j] - R[T, j] )

    The maximum is taken over earlier steps only. The value is therefore negative if
    the last step is the best. Groups without test images are left out.

    Source: Chaudhry et al., ECCV 2018, https://arxiv.org/abs/1801.10112.

    Args:
        accuracy_matrix: R, shape `(T + 1, T + 1)`: accuracy of the model of step
            `row` on the classes that arrived at step `column`, NaN above the
            diagonal. See `accuracy_matrix()`.

    Returns:
        Float; NaN if T is 0 or all groups lack test images.

    Raises:
        ValueError: the matrix is not square.

    >>> forgetting([[0.9, np.nan], [0.5, 0.8]])
    0.4
    """
    matrix = np.asarray(accuracy_matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            "`accuracy_matrix` must have shape (T + 1, T + 1), one row per step and "
            f"one column per group of classes. Received: shape {matrix.shape}"
        )
    last = len(matrix) - 1
    losses = [matrix[j:last, j].max() - matrix[last, j] for j in range(last)]
    defined = [loss for loss in losses if not np.isnan(loss)]
    return float(np.mean(defined)) if defined else float("nan")


def per_class_accuracy(scored):
    """Accuracy on each class of a `Tally`, shape `(N,)`; NaN without test images."""
    images, correct = scored
    return np.where(images > 0, correct / np.maximum(images, 1), np.nan)


def group_accuracy(scored, start, stop):
    """Accuracy over the test images of classes [start, stop), all predictions allowed.

    Every image has the same weight (micro average). This equals the mean over classes
    if all classes have the same number of test images.

    Args:
        scored: the `Tally` of a confusion matrix.
        start, stop: range of classes.

    Returns:
        Float; NaN if these classes have no test images.
    """
    images, correct = (counts[start:stop].sum() for counts in scored)
    return float(correct / images) if images else float("nan")


def step_accuracies(scored, num_base_classes, num_old_classes):
    """Returns the accuracies of a step, by the names of `DEFINITIONS`.

    Args:
        scored: the `Tally` of the step.
        num_base_classes: number of classes of step 0.
        num_old_classes: number of classes of all earlier steps.
    """
    num_classes = len(scored.images)
    groups = {
        "accuracy": (0, num_classes),
        "base_accuracy": (0, num_base_classes),
        "old_accuracy": (0, num_old_classes),
        "new_accuracy": (num_old_classes, num_classes),
    }
    return {name: group_accuracy(scored, *group) for name, group in groups.items()}


def accuracy_matrix(tallies, boundaries):
    """R[t, j]: accuracy of the model of step t on the classes that arrived at step j.

    Args:
        tallies: `Tally` of steps 0 ... T.
        boundaries: numbers of classes seen after each step, N_0 ... N_T. Group j
            consists of the classes [N_{j-1}, N_j).

    Returns:
        Float array, shape `(T + 1, T + 1)`, NaN above the diagonal.
    """
    starts = [0, *boundaries[:-1]]
    matrix = np.full((len(boundaries), len(boundaries)), np.nan)
    for t, scored in enumerate(tallies):
        for j in range(t + 1):
            matrix[t, j] = group_accuracy(scored, starts[j], boundaries[j])
    return matrix


def pooled_moments(numbers, means, deviations):
    """Mean and population standard deviation of the union of groups of values.

        m = sum n_g m_g / N,   s^2 = sum n_g (s_g^2 + (m_g - m)^2) / N,   N = sum n_g

    Args:
        numbers, means, deviations: size, mean and deviation of each group. The last two
            may be None or NaN for an empty group.

    Returns:
        `(mean, deviation)`, NaN if all groups are empty.

    >>> pooled_moments([1, 3], [2.0, 4.0], [0.0, 0.0])
    (3.5, 0.8660254037844386)
    """
    total = math.fsum(numbers)
    if not total:
        return math.nan, math.nan
    groups = [
        group for group in zip(numbers, means, deviations, strict=True) if group[0]
    ]
    mean = math.fsum(n * m for n, m, _ in groups) / total
    variance = math.fsum(n * (s**2 + (m - mean) ** 2) for n, m, s in groups) / total
    return mean, math.sqrt(variance)


def summary_scores(tallies):
    """Returns the scores of a whole run, by the names of `DEFINITIONS`.

    Args:
        tallies: `Tally` of steps 0 ... T, at least one.

    Returns:
        Dictionary of floats; undefined scores are NaN.
    """
    boundaries = [len(scored.images) for scored in tallies]
    num_old = boundaries[-2] if len(boundaries) > 1 else 0
    accuracies = [
        group_accuracy(scored, 0, seen)
        for scored, seen in zip(tallies, boundaries, strict=True)
    ]
    last = step_accuracies(tallies[-1], boundaries[0], num_old)
    return {
        "average_incremental_accuracy": average_incremental_accuracy(accuracies),
        **{f"final_{name}": score for name, score in last.items()},
        "forgetting": forgetting(accuracy_matrix(tallies, boundaries)),
    }
