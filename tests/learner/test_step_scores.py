"""Scores of a finished step: the predictor's, and those of the head beside it."""

import contextlib
import types

import numpy as np
import pytest
from scipy.special import softmax

from bsce_keras.data.examples import Examples
from bsce_keras.learner import step_scores as step_scores_module
from bsce_keras.learner.step_scores import step_scores
from bsce_keras.runtime.errors import RunError

LABELS = np.array([0, 1, 2, 2])
STEP = types.SimpleNamespace(num_old_classes=2, num_classes=3)


def scores(
    predictor,
    classifier,
    labels=LABELS,
    validation_share=0.0,
    calibrate=False,
    scale=5.0,
):
    """Returns `step_scores` of models that are named by their predictions."""

    @contextlib.contextmanager
    def serving(predictions):
        yield lambda images: scale * (1e-9 + np.eye(3)[list(predictions)])

    stream = types.SimpleNamespace(validation_share=validation_share)
    config = types.SimpleNamespace(calibrate=calibrate, stream=stream)
    learner = types.SimpleNamespace(
        config=config, classifier=classifier, serving=serving
    )
    images = np.zeros((len(labels), 1, 1, 1), np.uint8)
    test = Examples(images, labels, np.arange(len(labels)))
    return step_scores(learner, predictor, None, STEP, test)


def test_a_separate_predictor_is_scored_beside_the_head():
    """Nearest means are right for 3 of 4 images, the head for 1."""
    fields, probabilities = scores((0, 1, 2, 0), (1, 1, 0, 0))
    assert fields["confusion"].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert (fields["nme_accuracy"], fields["head_accuracy"]) == (0.75, 0.25)
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 2, 0]
    assert fields["further"]["new_called_old"] == 0.5


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_logits_that_are_not_finite_end_the_run(fault):
    """As those of a head that a method of one's own corrects by a norm of 0."""
    with pytest.raises(RunError, match="logits of test images .* not finite"):
        scores((0, 1, 2, 0), (0, 1, 2, 0), scale=fault)


def test_only_validation_images_give_the_curve_over_alpha():
    model = (0, 1, 2, 0)
    fields, _ = scores(model, model)
    assert set(fields) == {"confusion", "further"}
    fields, _ = scores(model, model, validation_share=0.1)
    curve = fields["accuracy_by_alpha"]
    one = curve["alpha"].index(1)
    assert curve["accuracy"][one] == 0.75
    assert (curve["old_accuracy"][one], curve["new_accuracy"][one]) == (1.0, 0.5)


def test_a_temperature_is_never_fitted_to_test_images(monkeypatch):
    fitted_to = []

    def calibration(logits_of, step, memory, validation):
        fitted_to.append(validation)
        return {"temperature": 2.0}

    monkeypatch.setattr(step_scores_module, "calibration", calibration)
    model = (0, 1, 2, 0)
    for share in (0.0, 0.1):
        _, probabilities = scores(model, model, validation_share=share, calibrate=True)
        np.testing.assert_allclose(
            probabilities, softmax(2.5 * np.eye(3)[list(model)], axis=1), rtol=1e-6
        )
    without, held_out = fitted_to
    assert without is None
    np.testing.assert_array_equal(held_out.labels, LABELS)


def test_a_step_without_test_images_has_empty_scores():
    model = ()
    fields, probabilities = scores(model, model, LABELS[:0], validation_share=0.1)
    assert probabilities.shape == (0, 3)
    assert fields["confusion"].tolist() == [[0] * 3] * 3
    assert fields["accuracy_by_alpha"] is None
