"""Temperatures: probabilities become as certain as they are right."""

import numpy as np
import pytest

from bsce_keras.evaluation.calibration import fitted_temperature, probabilities_of
from bsce_keras.evaluation.scores import scored


def drawn(sharpness):
    """Returns logits times a factor, and labels drawn by the softmax without it."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20000, 5))
    uniform = rng.random((20000, 1))
    labels = (probabilities_of(logits).cumsum(axis=1) < uniform).sum(axis=1)
    return sharpness * logits, np.minimum(labels, 4)


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 0.25])
def test_temperature_undoes_a_factor_of_calibrated_logits(sharpness):
    assert fitted_temperature(*drawn(sharpness)) == pytest.approx(sharpness, rel=0.03)


def test_calibration_error_of_too_certain_logits_falls_and_predictions_stay():
    logits, labels = drawn(3.0)
    temperature = fitted_temperature(logits, labels)
    after = probabilities_of(logits, temperature)
    np.testing.assert_array_equal(after.argmax(axis=1), logits.argmax(axis=1))
    _, errors = scored(logits, probabilities_of(logits), labels, 3)
    _, calibrated = scored(logits, after, labels, 3)
    for name in ("calibration_error", "old_calibration_error", "new_calibration_error"):
        assert errors[name] > 0.1
        assert calibrated[name] < 0.02


def test_images_that_are_all_right_do_not_make_the_probabilities_certain():
    labels = np.arange(200) % 2
    logits = 10.0 * np.eye(2)[labels]
    temperature = fitted_temperature(logits, labels, num_random=1)
    confidence = probabilities_of(logits, temperature).max()
    # 200 images are right, and half of one with a random label.
    assert confidence == pytest.approx(200.5 / 201)


def test_temperature_minimises_the_cross_entropy():
    rng = np.random.default_rng(1)
    labels = rng.integers(4, size=500)
    logits = 0.3 * np.eye(4)[labels] + 0.2 * rng.normal(size=(500, 4))

    def loss(temperature):
        scaled = logits / temperature
        correct = scaled[np.arange(500), labels]
        return np.mean(np.log(np.exp(scaled).sum(axis=1)) - correct)

    best = fitted_temperature(logits, labels)
    assert loss(best) < min(loss(0.99 * best), loss(1.01 * best))


@pytest.mark.parametrize(("factor", "expected"), [(0.01, 1e-3), (-10.0, 100.0)])
def test_temperature_stays_in_its_range_for_images_all_right_or_all_wrong(
    factor, expected
):
    labels = np.arange(4) % 2
    logits = factor * np.eye(2)[labels]
    assert fitted_temperature(logits, labels) == pytest.approx(expected, rel=1e-3)
