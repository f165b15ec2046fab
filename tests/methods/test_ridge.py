"""Ridge regressions from sums equal references that hold all images."""

import numpy as np
import pytest

from bsce_keras.methods.ridge import RidgeSolution, RidgeSums, balanced_weights
from bsce_keras.runtime.errors import RunError

SIZE, NUM_CLASSES = 20, 3


def data(num_images=60, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_images, SIZE))
    targets = np.eye(NUM_CLASSES)[rng.integers(NUM_CLASSES, size=num_images)]
    return rows, targets, rng.uniform(0.5, 2.0, num_images)


def sums_of(rows, targets, weights, parts=1):
    blocks = zip(
        *(np.array_split(values, parts) for values in (rows, targets, weights)),
        strict=True,
    )
    return RidgeSums.of_blocks(blocks, SIZE, NUM_CLASSES)


def reference(rows, targets, weights, ridge):
    """Returns the solution as its formula says, with full matrices."""
    gram = (rows.T * weights) @ rows + ridge * np.eye(SIZE)
    return np.linalg.solve(gram, (rows.T * weights) @ targets)


@pytest.mark.parametrize("parts", [1, 7])
def test_solution_equals_a_direct_one_whatever_the_blocks(parts):
    solution = RidgeSolution(sums_of(*data(), parts), 0.1)
    np.testing.assert_allclose(solution.kernel, reference(*data(), 0.1), atol=1e-8)


def test_sums_of_two_sets_are_the_sums_of_all_images():
    first, second = data(seed=1), data(30, seed=2)
    both = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    added = sums_of(*first).plus(sums_of(*second))
    np.testing.assert_allclose(added.gram, sums_of(*both).gram, rtol=1e-12, atol=1e-12)
    removed = added.plus(sums_of(*second).times(-1.0))
    solution = RidgeSolution(removed, 0.1)
    np.testing.assert_allclose(solution.kernel, reference(*first, 0.1), atol=1e-8)


def test_leave_one_out_equals_a_fit_without_the_image():
    rows, targets, weights = data()
    predictions = RidgeSolution(sums_of(rows, targets, weights), 0.1).leave_one_out(
        rows, targets, weights
    )
    for left_out in (0, 31):
        others = np.arange(len(rows)) != left_out
        kernel = reference(rows[others], targets[others], weights[others], 0.1)
        expected = rows[left_out] @ kernel
        np.testing.assert_allclose(predictions[left_out], expected, atol=1e-8)


def test_ridge_solves_what_images_leave_open():
    """One image, and identical images: fewer directions than columns."""
    rows, targets, _ = data(1)
    for copies in (1, 9):
        many = np.repeat(rows, copies, axis=0), np.repeat(targets, copies, axis=0)
        kernel = RidgeSolution(sums_of(*many, np.ones(copies)), 0.1).kernel
        expected = targets * copies / (copies + 0.1 / np.sum(rows**2))
        np.testing.assert_allclose(rows @ kernel, expected, atol=1e-8)


def test_class_without_images_has_logits_of_0():
    rows, targets, weights = data()
    targets[:, 2] = 0.0
    kernel = RidgeSolution(sums_of(rows, targets, weights), 0.1).kernel
    np.testing.assert_array_equal(kernel[:, 2], 0.0)


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_sums_that_are_not_finite_are_refused(factor):
    with pytest.raises(RunError, match="not finite.*larger --ridge, here 0.1"):
        RidgeSolution(sums_of(*data()).times(factor), 0.1)


def test_gram_matrix_that_is_not_positive_definite_is_refused():
    with pytest.raises(
        RunError, match="not positive definite.*larger --ridge, here 0.1"
    ):
        RidgeSolution(sums_of(*data()).times(-1.0), 0.1)


def test_balanced_weights_give_every_class_the_same_share():
    weights, kappa = balanced_weights([10, 0, 40])
    np.testing.assert_allclose(weights, [0.1, 0.0, 0.025])
    assert kappa == pytest.approx(2 / 0.125)
