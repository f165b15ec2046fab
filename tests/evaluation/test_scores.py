"""Top-5, calibration error and recency bias against numbers worked by hand."""

import numpy as np
import pytest
from scipy.special import softmax

from bsce_keras.evaluation.confusion import smallest_type
from bsce_keras.evaluation.scores import (
    DEFINITIONS,
    accuracies_by_alpha,
    alpha_curve,
    calibration_error,
    harmonic_mean,
    recency_bias,
    scored,
    top_accuracy,
)


def rows(confidences):
    """Probabilities of two classes whose first one is the larger."""
    first = np.array(confidences)
    return np.stack([first, 1 - first], axis=1)


def test_calibration_error_by_hand():
    # Bin (12/15, 13/15]: 0.82 right and 0.84 wrong, so |0.5 - 0.83|.
    # Bin (9/15, 10/15]: 0.62 right, so |1 - 0.62|.
    probabilities = rows([0.82, 0.84, 0.62])
    expected = (2 * 0.33 + 1 * 0.38) / 3
    assert calibration_error(probabilities, [0, 1, 0]) == pytest.approx(expected)


def test_a_confidence_at_the_upper_end_belongs_to_the_lower_bin():
    # 0.8 = 12/15 and 0.81 lie in different bins, so their gaps do not cancel.
    error = calibration_error(rows([0.8, 0.81]), np.array([0, 1]))
    assert error == pytest.approx((0.2 + 0.81) / 2)


def test_a_perfect_and_certain_model_has_no_calibration_error():
    assert calibration_error(rows([1.0, 1.0]), np.array([0, 0])) == 0


def test_calibration_error_equals_an_independent_implementation():
    rng = np.random.default_rng(0)
    probabilities = softmax(3 * rng.normal(size=(500, 7)), axis=1)
    labels = rng.integers(0, 7, 500)
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    total = 0.0
    for m in range(15):
        chosen = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if chosen.any():
            gap = (predicted == labels)[chosen].mean() - confidence[chosen].mean()
            total += chosen.mean() * abs(gap)
    assert calibration_error(probabilities, labels) == pytest.approx(total, abs=1e-12)


def test_top_accuracy_counts_the_largest_logits():
    logits = np.array([[5.0, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]])
    assert top_accuracy(logits, np.array([4, 0]), 5) == 0.5
    assert top_accuracy(logits[:, :5], np.array([4, 0]), 5) == 1.0
    assert np.isnan(top_accuracy(logits[:, :4], np.array([0, 0]), 5))


def test_recency_bias_by_hand():
    # Of 10 old images, 3 are called new; of 5 new images, 1 is called old.
    confusion = np.array([[4, 0, 1], [1, 2, 2], [0, 1, 4]])
    assert recency_bias(confusion, 2) == (0.3, 0.2)


def test_the_base_step_has_no_recency_bias():
    old_called_new, new_called_old = recency_bias(np.eye(3, dtype=int), 0)
    assert np.isnan(old_called_new) and new_called_old == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(0.2, 0.6, 0.3), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
)
def test_harmonic_mean_by_hand(old, new, expected):
    assert harmonic_mean(old, new) == pytest.approx(expected)


def test_old_and_new_images_are_scored_apart():
    # Old images are right with certainty; new ones are wrong with certainty.
    logits = np.array([[99.0, 0, 0], [0, 99, 0], [99, 0, 0]])
    probabilities = softmax(logits, axis=1)
    confusion, further = scored(logits, probabilities, np.array([0, 1, 2]), 2)
    assert confusion.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert list(further) == list(DEFINITIONS)
    assert further["old_calibration_error"] == pytest.approx(0)
    assert further["new_calibration_error"] == pytest.approx(1)
    assert further["calibration_error"] == pytest.approx(1 / 3)
    assert (further["old_called_new"], further["new_called_old"]) == (0, 1)


def test_predictions_are_those_of_logits_where_probabilities_tie():
    """As they do for a high temperature in float32."""
    logits = np.array([[0.0, 1e-9, 0.0]])
    confusion, _ = scored(logits, np.full((1, 3), 1 / 3), np.array([1]), 2)
    assert confusion[1].tolist() == [0, 1, 0]
    curve = accuracies_by_alpha(np.full((1, 2), 0.5), np.array([0]), 1, [1])
    assert next(curve)[1] == 1  # The first of equal classes, as by argmax.


@pytest.mark.parametrize("count", [0, 255, 256, 70_000])
def test_a_stored_confusion_matrix_holds_its_counts(count):
    assert smallest_type(np.array([[count]])).tolist() == [[count]]


def test_alpha_moves_images_between_old_and_new():
    # One old class. The first image leans to it, the second one to the new class.
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 0])
    curve = list(accuracies_by_alpha(probabilities, labels, 1, (0.5, 1, 3)))
    assert [accuracy for _, accuracy, _, _ in curve] == [0, 0.5, 1]
    assert all(np.isnan(new) for *_, new in curve)


def test_curve_over_alpha_trades_new_for_old_accuracy_and_passes_the_scores():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    logits = 2 * np.eye(4)[labels] + 2 * rng.normal(size=(400, 4))
    probabilities = softmax(logits, axis=1)
    curve = alpha_curve(probabilities, labels, 2)
    alphas = np.array(curve["alpha"])
    assert (alphas[0], alphas[-1]) == (1 / 32, 32)
    np.testing.assert_allclose(alphas[1:] / alphas[:-1], np.sqrt(2))
    assert np.all(np.diff(curve["old_accuracy"]) >= 0)
    assert np.all(np.diff(curve["new_accuracy"]) <= 0)
    at_one = curve["accuracy"][curve["alpha"].index(1)]
    assert at_one == np.mean(logits.argmax(axis=1) == labels)
    for place, alpha in enumerate(curve["alpha"]):
        moved = logits + np.log(alpha) * (np.arange(4) < 2)
        right = moved.argmax(axis=1) == labels
        assert curve["old_accuracy"][place] == right[labels < 2].mean()


def test_a_step_without_old_classes_has_no_curve():
    assert alpha_curve(np.ones((3, 2)) / 2, np.zeros(3, int), 0) is None


def test_a_step_without_images_has_no_curve():
    assert alpha_curve(np.ones((0, 2)), np.zeros(0, int), 1) is None
