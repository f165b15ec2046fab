"""Comparison of two models: counts, McNemar's test and the gate, by hand."""

import numpy as np
import pytest

from bsce_keras.evaluation.comparison import Comparison, gate_failures, mcnemar_exact


@pytest.fixture
def comparison():
    """Ten images of classes a and b, five of c, which only the new model knows."""
    return Comparison(
        class_names=("a", "b", "c"),
        old_knows=np.array([True, True, False]),
        labels=np.repeat([0, 1, 2], [10, 10, 5]),
        # a: 9 -> 6 of 10, four turn wrong and one right. b: 5 -> 10. c: 0 -> 4 of 5.
        old=np.array([0] * 9 + [1] + [1] * 5 + [0] * 5 + [0] * 5),
        new=np.array([0] * 5 + [2] * 4 + [0] + [1] * 10 + [2] * 4 + [0]),
    )


def test_a_class_is_counted_by_hand(comparison):
    a = comparison.classes[0]
    assert (a.images, a.old, a.new) == (10, 0.9, 0.6)
    assert (a.turned_wrong, a.turned_right) == (4, 1)
    assert a.gain == pytest.approx(-30)


def test_groups_add_up_their_classes(comparison):
    everything, old, new = comparison.groups
    assert (everything.images, old.images, new.images) == (25, 20, 5)
    assert (old.old, old.new) == (14 / 20, 16 / 20)
    assert (new.old, new.new) == (0, 4 / 5)
    assert (everything.turned_wrong, everything.turned_right) == (4, 10)


def test_only_old_classes_count_as_losses(comparison):
    assert [one.name for one in comparison.losses] == ["a"]


def test_the_class_that_lost_most_comes_first():
    labels = np.repeat([0, 1, 2], 10)
    # Class 0 loses one image of ten, class 1 three, class 2 two.
    new = np.where(np.arange(30) % 10 < np.array([1, 3, 2])[labels], 3, labels)
    known = np.ones(4, bool)
    losses = Comparison(("a", "b", "c", "d"), known, labels, labels, new).losses
    assert [one.name for one in losses] == ["b", "c", "a"]


def test_images_that_turned_wrong_are_found(comparison):
    assert comparison.turned_wrong.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 2**5),
        (1, 7, 2 * (1 + 8) / 2**8),
        (7, 1, 2 * (1 + 8) / 2**8),
    ],
)
def test_mcnemar_by_hand(wrong, right, expected):
    assert mcnemar_exact(wrong, right) == pytest.approx(expected, rel=1e-12)


def test_a_class_that_lost_too_much_fails_the_gate(comparison):
    [failure] = gate_failures(comparison, max_drop=29, min_images=10)
    assert failure == "class a lost 30.00 points, more than 29"
    assert gate_failures(comparison, max_drop=31, min_images=10) == []


def test_a_class_that_lost_exactly_the_limit_passes_the_gate():
    labels = np.zeros(50, int)
    predicted = np.concatenate([[1], labels[1:]])
    comparison = Comparison(
        ("a", "b"), np.array([True, True]), labels, labels, predicted
    )
    assert gate_failures(comparison, max_drop=2) == []
    assert len(gate_failures(comparison, max_drop=1.99)) == 1


def test_the_gate_ignores_small_classes():
    """Class a lost all of its 2 images; class b has 20."""
    labels = np.repeat([0, 1], [2, 20])
    both = Comparison(
        ("a", "b"), np.array([True, True]), labels, labels, np.ones(22, int)
    )
    assert gate_failures(both, max_drop=0, min_images=3) == []
    assert len(gate_failures(both, max_drop=0, min_images=2)) == 1


def test_a_gate_that_judges_no_class_fails(comparison):
    [failure] = gate_failures(comparison, max_drop=50, min_images=11)
    assert "no old class has 11 images; give a lower --min_images" in failure
    assert gate_failures(comparison, min_images=11) == []


def test_a_small_gain_fails_the_gate(comparison):
    # 14 of 25 images, then 20.
    assert gate_failures(comparison, min_gain=24) == []
    [failure] = gate_failures(comparison, min_gain=24.5)
    assert "+24.00 points, less than 24.5" in failure
