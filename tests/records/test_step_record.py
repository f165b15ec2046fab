"""StepRecord: the line of a finished step, and the state of its checkpoint."""

import json

import numpy as np
import pytest

from bsce_keras.evaluation import scores
from bsce_keras.records.step_record import StepRecord
from bsce_keras.records.step_states import pack_states, unpack_states

FIELDS = [
    "step",
    "num_classes",
    "num_old_classes",
    "train_images",
    "accuracy",
    "base_accuracy",
    "old_accuracy",
    "new_accuracy",
    "nme_accuracy",
    "alpha",
    "epochs",
    "train_seconds",
    "images_per_second",
    "peak_memory_mb",
]


def test_a_line_has_the_promised_fields_with_scores_from_the_confusion(make_record):
    line = make_record(2, alpha=0.5, nme_accuracy=0.25).to_line()
    assert list(line)[: len(FIELDS)] == FIELDS
    assert line["accuracy"] == 6 / 16
    assert line["base_accuracy"] == 2 / 8
    assert line["old_accuracy"] == 3 / 12
    assert line["new_accuracy"] == 3 / 4
    assert (line["alpha"], line["nme_accuracy"]) == (0.5, 0.25)


# Fields of a record that a line has as they are.
MEASURED = {
    "train_images": 55,
    "epochs": 7,
    "train_seconds": 2.5,
    "peak_memory_mb": 12.5,
    "alpha_clips": 3,
    "loss_by_epoch": {"loss": [2.0, 1.0]},
    "ridge": 0.5,
    "head_accuracy": 0.125,
    "memory_bytes": {"exemplars": 5, "state": 6, "teacher": 7},
    "temperature": 1.5,
    "calibrated_on": "training images",
    "accuracy_by_alpha": {"alpha": [1.0], "accuracy": [0.25]},
}
FURTHER = {name: 0.5**n for n, name in enumerate(scores.DEFINITIONS, 1)}


def test_a_line_has_what_was_measured(make_record):
    line = make_record(2, **MEASURED, further=FURTHER, alphas=[0.9, 0.8]).to_line()
    for name, value in {**MEASURED, **FURTHER}.items():
        assert line[name] == value, name
    assert line["alpha_updates"] == 2
    # Old and new accuracies are 1/4 and 3/4.
    assert line["harmonic_accuracy"] == 3 / 8


def test_what_is_undefined_is_null_in_a_line(make_record):
    line = make_record(0, images_per_second=float("nan")).to_line()
    for name in ("old_accuracy", "nme_accuracy", "alpha", "images_per_second"):
        assert line[name] is None


def test_a_line_has_the_gradient_of_alpha_over_the_whole_step(make_record):
    """Gradients 1, 3 | none | 8: the mean of three values, not of two epochs."""
    epochs = {
        "alpha_updates": [2, 0, 1],
        "alpha": [0.5, None, 0.25],
        "alpha_gradient_mean": [2.0, None, 8.0],
        "alpha_gradient_std": [1.0, None, 0.0],
    }
    line = make_record(1, alpha=0.25, alpha_by_epoch=epochs).to_line()
    assert line["alpha_gradient_mean"] == pytest.approx(np.mean([1, 3, 8]))
    assert line["alpha_gradient_std"] == pytest.approx(np.std([1, 3, 8]))
    assert line["alpha_by_epoch"] == epochs
    fixed = make_record(1, alpha=0.25).to_line()
    assert fixed["alpha_gradient_mean"] is fixed["alpha_by_epoch"] is None


def test_a_record_survives_its_state(make_record):
    given = {"alpha": np.float32(0.5), "class_counts": np.array([5, 5, 50])}
    record = make_record(1, **MEASURED, further=FURTHER, alphas=[0.9], **given)
    arrays, plain = pack_states([record.to_state()])
    (state,) = unpack_states(arrays, json.loads(json.dumps(plain)))
    again = StepRecord.from_state(state, record.to_arrays())
    assert again.to_line() == record.to_line()
    np.testing.assert_array_equal(again.confusion, record.confusion)
    assert again.confusion.dtype == np.int64


def test_states_that_lack_values_count_as_damaged():
    arrays, plain = pack_states([{"counts": np.arange(3)}])
    arrays["states/counts"] = arrays["states/counts"][:2]
    with pytest.raises(ValueError, match=r"counts has the shape \(2,\), not \(3,\)"):
        unpack_states(arrays, plain)


def test_a_record_needs_no_confusion_matrix_for_its_scores(make_record):
    record = make_record(2)
    again = StepRecord.from_state(record.to_state())
    assert again.confusion is None
    assert again.to_line() == record.to_line()


def test_a_confusion_matrix_of_another_size_is_refused(make_record):
    with pytest.raises(ValueError, match=r"\(3, 3\)\. Received: shape \(2, 2\)"):
        make_record(1, confusion=np.zeros((2, 2), int))
