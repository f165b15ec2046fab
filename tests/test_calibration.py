"""Runs with --calibrate: one temperature in records, exports and model card."""

import json
import types

import numpy as np
import pytest
from scipy.special import softmax

from bsce_keras import export, load_classifier, make_config, run_experiment
from bsce_keras.data.examples import Examples
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.calibration import TRAINING, VALIDATION
from bsce_keras.evaluation.scores import calibration_error
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.learner.calibration import calibration
from bsce_keras.options.make_config import request_problems
from bsce_keras.records.run_records import read_run

REQUEST = {
    "backbone": "small",
    "epochs": 2,
    "batch_size": 130,
    "num_base_classes": 8,
    "num_increments": 1,
    "precision": "float32",
    "export_only_last": True,
    "validation_share": 0.2,
    "calibrate": True,
}


def config_of(run_dir):
    return make_config("digits", run_dir=str(run_dir), **REQUEST)


@pytest.fixture(scope="module")
def calibrated_run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "digits"
    run_experiment(config_of(run_dir))
    return run_dir


@pytest.fixture(scope="module")
def held_out(calibrated_run):
    stream = ClassIncrementalStream(config_of(calibrated_run).stream)
    return stream.seen_test(stream.steps[-1])


def probabilities(path, images):
    return load_model(str(path)).probabilities(images, 500)


def test_recorded_calibration_error_is_that_of_the_served_probabilities(
    calibrated_run, held_out
):
    served = probabilities(calibrated_run / "exports/step_01", held_out.images)
    line = read_run(calibrated_run).steps[1]
    assert line["calibrated_on"] == VALIDATION
    curve = line["accuracy_by_alpha"]
    assert curve["accuracy"][curve["alpha"].index(1)] == line["accuracy"]
    assert calibration_error(served, held_out.labels) == pytest.approx(
        line["calibration_error"], abs=1e-4
    )
    logits = load_classifier(calibrated_run).predict(held_out.images, verbose=0)
    divided = softmax(logits["logits"] / line["temperature"], axis=1)
    np.testing.assert_allclose(served, divided, atol=1e-5)
    assert np.abs(softmax(logits["logits"], axis=1) - divided).max() > 1e-3


def test_later_exports_are_calibrated_and_their_card_says_so(
    calibrated_run, held_out, tmp_path
):
    images = held_out.images[:50]
    expected = probabilities(calibrated_run / "exports/step_01", images)
    export.export_finished_step(calibrated_run, 1, ("keras",), str(tmp_path / "later"))
    found = probabilities(tmp_path / "later" / "model.keras", images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    card = (tmp_path / "later" / "MODEL_CARD.md").read_text("utf-8")
    temperature = read_run(calibrated_run).steps[1]["temperature"]
    assert f"divided by {temperature:.4g}" in card
    assert "fitted to validation images" in card
    facts = json.loads((tmp_path / "later" / "model_card.json").read_text("utf-8"))
    assert facts["temperature"] == temperature


def test_an_export_that_was_lost_is_written_again_as_it_was(
    calibrated_run, held_out, tmp_path
):
    path, images = calibrated_run / "exports/step_01", held_out.images[:50]
    expected = probabilities(path, images)
    path.rename(tmp_path / "moved")
    run_experiment(config_of(calibrated_run))
    np.testing.assert_allclose(probabilities(path, images), expected, atol=1e-5)


def test_alpha_moves_calibrated_probabilities(calibrated_run, held_out, tmp_path):
    before = probabilities(calibrated_run / "exports/step_01", held_out.images)
    path = str(tmp_path / "moved")
    export.export_finished_step(calibrated_run, output=path, alpha=5)
    before[:, :8] *= 5
    before /= before.sum(axis=1, keepdims=True)
    after = probabilities(path, held_out.images)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-6)


def examples(*labels):
    """Examples whose images are their one-hot labels, of 3 classes."""
    labels = np.array(labels, int)
    return Examples(np.eye(3)[labels], labels, np.arange(len(labels)))


def test_a_step_without_images_is_not_calibrated():
    step = types.SimpleNamespace(earlier=None, examples=examples())
    memory = types.SimpleNamespace(replay=lambda earlier: None)
    assert calibration(lambda images: images, step, memory, examples()) == {}


def test_many_images_are_thinned_in_all_classes():
    seen = []

    def logits_of(images):
        seen.append(images.argmax(axis=1))
        return images

    calibration(logits_of, None, None, examples(*[0] * 6000, *[1] * 3000, *[2] * 1000))
    assert np.bincount(seen[0]).tolist() == [3000, 1500, 500]


def test_without_validation_images_the_pool_of_the_step_is_used():
    seen = []

    def logits_of(images):
        seen.append(images.argmax(axis=1))
        return images

    step = types.SimpleNamespace(
        num_old_classes=2,
        num_new_classes=1,
        earlier=None,
        examples=examples(*[2] * 50),
    )
    memory = types.SimpleNamespace(
        replay=lambda earlier: examples(0, 0, 0, 1, 1, 1, 2, 2, 2)
    )
    fitted = calibration(logits_of, step, memory)
    assert fitted["calibrated_on"] == TRAINING
    assert np.bincount(seen[0]).tolist() == [3, 3, 50]


def test_images_that_are_all_right_leave_room_for_an_error():
    """About one of 300; the smallest temperature would say none."""
    seen = examples(*range(3), *range(3), *[2] * 294)
    fitted = calibration(lambda images: 10.0 * images, None, None, seen)
    chances = softmax(10.0 * np.eye(3) / fitted["temperature"], axis=1)
    assert 1e-3 < 1 - chances[0, 0] < 1e-2


def test_methods_that_calibrate_already_refuse_the_flag():
    [problem] = request_problems("digits", method="acil", calibrate=True)
    assert "fits the temperature of its head" in problem
