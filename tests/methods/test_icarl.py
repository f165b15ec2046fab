"""iCaRL predicts by the means of exemplars, in scores and in exports."""

import json

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.config import choices
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.methods import load_method, recipes
from bsce_keras.methods.base import StepContext
from bsce_keras.runtime.errors import RequestError


def test_distillation_is_the_plain_divergence_at_weight_1():
    """The factor beta tau^2 is 1. Logits: teacher (log 3, 0), student (0, 0); tau 2.

    p_hat = (sqrt 3, 1) / (1 + sqrt 3), p = (1/2, 1/2): the cross-entropy is log 2.
    """
    for name in ("icarl", "lwf"):
        method = load_method(make_config("digits", method=name).method)
        context = StepContext(2, 1, (5, 5, 130), "softmax", step_sizes=(2, 1))
        term = method.loss_terms(context)[1]
        assert (term.name, term.weight) == ("distillation", 1.0)
        teacher = {"logits": np.array([[np.log(3.0), 0.0]])}
        student = {"logits": np.zeros((1, 3))}
        assert float(term.values(None, student, teacher)[0]) == pytest.approx(np.log(2))


def predictor_head(*features_of_classes):
    method = load_method(make_config("digits", method="icarl").method)
    return method.predictor_head(np.array(rows) for rows in features_of_classes)


def test_logits_are_negative_squared_distances_to_unit_means():
    """The mean direction of class 0 is (1, 1) / sqrt 2, independent of lengths."""
    head = predictor_head([[5.0, 0.0], [0.0, 0.1]], [[-2.0, 0.0]])
    (logits,) = head(np.array([[3.0, 0.0]], np.float32))["logits"].numpy()
    assert logits[0] == pytest.approx(np.sqrt(2.0) - 2.0, abs=1e-6)
    assert logits[1] == pytest.approx(-4.0, abs=1e-6)


def test_class_of_the_nearest_mean_is_predicted():
    rng = np.random.default_rng(1)
    classes = [rng.normal(size=(4, 8)) for _ in range(5)]
    features = rng.normal(size=(50, 8))

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    means = unit(np.stack([unit(rows).mean(axis=0) for rows in classes]))
    distances = np.linalg.norm(unit(features)[:, None] - means, axis=-1)
    logits = predictor_head(*classes)(features.astype(np.float32))["logits"]
    np.testing.assert_array_equal(np.argmax(logits, axis=1), distances.argmin(axis=1))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (choices.SMALL, False),
        (choices.CIFAR, True),
        (choices.SUBIMAGENET, False),
        (choices.IMAGENET, False),
    ],
)
def test_exemplars_are_mirrored_only_on_cifar(kind, expected):
    assert recipes.parameters("icarl", kind).mirrors_exemplars is expected


def config(run_dir, **request):
    defaults = {
        "method": "icarl",
        "backbone": "small",
        "num_base_classes": 8,
        "num_increments": 1,
        "epochs": 1,
        "precision": "float32",
        "export_only_last": True,
    }
    return make_config("digits", run_dir=str(run_dir), **{**defaults, **request})


def test_scores_and_export_are_those_of_the_nearest_mean(tmp_path):
    from bsce_keras.experiment import run_experiment

    asked = config(tmp_path)
    run_experiment(asked)
    text = (tmp_path / "steps.jsonl").read_text()
    last = json.loads(text.splitlines()[-1])
    assert last["accuracy"] == last["nme_accuracy"] != last["head_accuracy"]
    stream = ClassIncrementalStream(asked.stream)
    test = stream.seen_test(stream.steps[-1])
    shipped = tf.saved_model.load(str(tmp_path / "exports/step_01"))
    serve = shipped.signatures["serving_default"]
    probabilities = serve(images=tf.constant(test.images))["probabilities"]
    accuracy = np.mean(np.argmax(probabilities, axis=1) == test.labels)
    assert accuracy == pytest.approx(last["accuracy"])


def test_memory_without_exemplars_is_refused(tmp_path):
    with pytest.raises(RequestError, match="classifies by exemplars"):
        config(tmp_path, exemplars_per_class=0)


def test_lwf_does_not_keep_exemplars_by_default():
    memory = make_config("digits", method="lwf").memory
    assert memory.exemplars_per_class == 0
    assert make_config("digits", method="icarl").memory.exemplars_per_class == 5
