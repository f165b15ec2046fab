"""Scores against numbers computed by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest

from bsce_keras.evaluation import average_incremental_accuracy, forgetting
from bsce_keras.evaluation.metrics import (
    accuracy_matrix,
    group_accuracy,
    per_class_accuracy,
    pooled_moments,
    step_accuracies,
    summary_scores,
    tally,
)

# Three steps, 2 + 1 + 1 classes, 4 test images a class.
#   step 0: 7 of 8 right
#   step 1: base 5 of 8, class 2: 4 of 4, together 9 of 12
#   step 2: base 2 of 8, class 2: 1 of 4, class 3: 3 of 4, together 6 of 16
CONFUSIONS = [
    np.array([[4, 0], [1, 3]]),
    np.array([[3, 0, 1], [0, 2, 2], [0, 0, 4]]),
    np.array([[1, 0, 1, 2], [0, 1, 0, 3], [0, 0, 1, 3], [1, 0, 0, 3]]),
]
TALLIES = [tally(confusion) for confusion in CONFUSIONS]
BOUNDARIES = [2, 3, 4]
NAN = math.nan


def test_accuracy_matrix_holds_each_step_on_each_group_of_classes():
    expected = [[7 / 8, NAN, NAN], [5 / 8, 1, NAN], [2 / 8, 1 / 4, 3 / 4]]
    matrix = accuracy_matrix(TALLIES, BOUNDARIES)
    np.testing.assert_allclose(matrix, expected)


def test_forgetting_is_the_mean_drop_from_the_best_earlier_step():
    # Base 7/8 - 2/8 = 5/8; class 2: 1 - 1/4 = 6/8; their mean is 11/16.
    matrix = accuracy_matrix(TALLIES, BOUNDARIES)
    assert forgetting(matrix) == pytest.approx(11 / 16)


def test_forgetting_is_negative_if_the_last_step_is_the_best():
    assert forgetting([[0.5, NAN], [0.7, 0.8]]) == pytest.approx(-0.2)


def test_forgetting_takes_the_best_of_all_earlier_steps_not_the_first():
    matrix = [[0.5, NAN, NAN], [0.9, 0.8, NAN], [0.4, 0.8, 0.1]]
    assert forgetting(matrix) == pytest.approx((0.5 + 0.0) / 2)


def test_forgetting_of_a_single_step_is_undefined():
    assert math.isnan(forgetting([[0.9]]))


def test_forgetting_leaves_out_groups_without_test_images():
    matrix = [[0.9, NAN, NAN], [0.8, NAN, NAN], [0.6, NAN, 0.5]]
    assert forgetting(matrix) == pytest.approx(0.3)


@pytest.mark.parametrize("matrix", [[0.5, 0.6], [[0.5, 0.6]], np.zeros((0, 0))])
def test_forgetting_refuses_a_matrix_that_is_not_square(matrix):
    with pytest.raises(ValueError, match=r"\(T \+ 1, T \+ 1\).*Received"):
        forgetting(matrix)


def test_average_incremental_accuracy_weighs_all_steps_equally():
    # 7/8, 9/12 and 6/16 weigh the same, although step 2 has twice as many classes.
    steps = [7 / 8, 9 / 12, 6 / 16]
    assert average_incremental_accuracy(steps) == pytest.approx(2 / 3)


def test_average_incremental_accuracy_is_undefined_if_a_step_is():
    assert math.isnan(average_incremental_accuracy([0.5, None]))


@pytest.mark.parametrize("steps", [[], [[0.5]]])
def test_average_incremental_accuracy_needs_one_value_per_step(steps):
    with pytest.raises(ValueError, match="one accuracy per step"):
        average_incremental_accuracy(steps)


def test_group_accuracy_counts_images_not_classes():
    # 9 of 10 images of class 0 and 0 of 2 of class 1: 9/12, not the mean 0.45.
    assert group_accuracy(tally([[9, 1], [2, 0]]), 0, 2) == 9 / 12


def test_group_accuracy_is_against_all_classes():
    # Images of class 0 that are predicted as class 1 are wrong within group [0, 1).
    assert group_accuracy(tally([[0, 2], [0, 2]]), 0, 1) == 0


def test_scores_without_test_images_are_undefined():
    scored = tally([[3, 1], [0, 0]])
    assert math.isnan(group_accuracy(scored, 1, 2))
    assert math.isnan(group_accuracy(scored, 0, 0))
    np.testing.assert_array_equal(per_class_accuracy(scored), [0.75, NAN])


def test_summary_scores_of_the_worked_example():
    assert summary_scores(TALLIES) == pytest.approx(
        {
            "average_incremental_accuracy": 2 / 3,
            "final_accuracy": 6 / 16,
            "final_base_accuracy": 2 / 8,
            "final_old_accuracy": 3 / 12,
            "final_new_accuracy": 3 / 4,
            "forgetting": 11 / 16,
        }
    )


def test_base_classes_are_those_of_step_0_and_old_ones_all_before_the_last_step():
    """One, three and four classes; all differ in accuracy."""
    scored = tally(np.diag([1, 2, 3, 4]) + 1)
    assert step_accuracies(scored, 1, 3) == pytest.approx(
        {
            "accuracy": 14 / 26,
            "base_accuracy": 2 / 5,
            "old_accuracy": 9 / 18,
            "new_accuracy": 5 / 8,
        }
    )


def test_groups_without_values_do_not_move_pooled_moments():
    pooled = pooled_moments([1, 0, 0, 3], [2.0, NAN, None, 4.0], [0.0, NAN, None, 0.0])
    assert pooled == pytest.approx((3.5, 0.75**0.5))


def test_old_accuracy_and_forgetting_of_only_a_base_step_are_undefined():
    scores = summary_scores(TALLIES[:1])
    assert scores["final_new_accuracy"] == scores["final_accuracy"] == 7 / 8
    assert math.isnan(scores["final_old_accuracy"])
    assert math.isnan(scores["forgetting"])


def test_the_metrics_do_not_import_tensorflow():
    code = (
        "import sys; from bsce_keras.evaluation import forgetting; "
        "import bsce_keras.report; "
        "sys.exit('tensorflow' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
