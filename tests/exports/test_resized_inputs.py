"""Every format takes a network that resizes its images, or refuses it by name."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec, ModelConfig
from bsce_keras.config.export_formats import FORMATS
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.exports.step_export import export_step
from bsce_keras.models.classifier import build_classifier, preprocessing
from bsce_keras.models.heads import LinearHead
from bsce_keras.runtime.errors import RunError

IMAGE = ImageSpec(size=14, stored_size=16)
NAMES = ("a", "b")


def pixels_as_features(side):
    """Returns a classifier whose features are the pixels that its backbone gets."""
    model = ModelConfig("saved", input="0_255", input_size=side)
    images = keras.Input((side, side, 3))
    backbone = keras.Model(images, keras.layers.Flatten()(images))
    layers = preprocessing(model, IMAGE)
    return build_classifier(backbone, LinearHead(len(NAMES)), IMAGE, layers)


@pytest.mark.parametrize("side", [pytest.param(20, marks=pytest.mark.slow), 9])
def test_every_format_resizes_to_the_same_pixels(side, tmp_path):
    classifier = pixels_as_features(side)
    path = tmp_path / "step_00"
    export_step(classifier, IMAGE, NAMES, str(path), tuple(FORMATS))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    features = classifier(images[:, 1:15, 1:15])["features"]
    expected = keras.ops.convert_to_numpy(features)
    for file, largest in {
        "": 1e-3,
        "model.tflite": 1e-3,
        "model.onnx": 1e-3,
        "model.keras": 1e-3,
        "model_int8.tflite": 3,
    }.items():
        actual = load_model(str(path / file)).outputs_of_images(images)["embedding"]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=largest)


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_an_operation_that_a_format_lacks_is_named(name, tmp_path):
    images = keras.Input((14, 14, 3))
    values = keras.layers.Resizing(9, 9, antialias=True, crop_to_aspect_ratio=True)
    features = keras.layers.Flatten()(values(images))
    outputs = {"logits": keras.layers.Dense(2)(features), "features": features}
    classifier = keras.Model(images, outputs)
    with pytest.raises(RunError, match=r"cannot be written as model.*ScaleAndTransl"):
        export_step(classifier, IMAGE, NAMES, str(tmp_path / "step"), (name,))
    assert not (tmp_path / "step").exists()
