"""Networks that hold Keras's image layers are exported in inference mode.

The `call` of these layers has `training=True` by default, which Keras hands on to all
layers after them.
"""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec, ModelConfig
from bsce_keras.config.export_formats import FORMATS
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.exports import formats
from bsce_keras.exports.step_export import export_step
from bsce_keras.models.classifier import build_classifier, preprocessing
from bsce_keras.models.heads import LinearHead
from bsce_keras.runtime.errors import RunError

IMAGE = ImageSpec(size=16, stored_size=16)


def image_layers(name):
    if name == "resizing":
        return [keras.layers.Resizing(12, 12)]
    if name == "random":
        return [keras.layers.RandomFlip(), keras.layers.RandomRotation(0.2)]
    return []


def make_classifier(layers, input_size=None):
    """Returns a classifier whose moving averages are not those of a batch."""
    side = input_size or IMAGE.size
    images = values = keras.Input((side, side, 3))
    for layer in [*layers, keras.layers.Conv2D(4, 3, activation="relu")]:
        values = layer(values)
    normalise = keras.layers.BatchNormalization()
    features = keras.layers.GlobalAveragePooling2D()(normalise(values))
    normalise.moving_mean.assign([3.0, -2.0, 5.0, 1.0])
    normalise.moving_variance.assign([4.0, 9.0, 2.0, 7.0])
    model = ModelConfig("saved", input="unit", input_size=input_size)
    backbone = keras.Model(images, features)
    return build_classifier(backbone, LinearHead(2), IMAGE, preprocessing(model, IMAGE))


@pytest.mark.parametrize(
    ("name", "input_size"),
    [
        ("resizing", None),
        pytest.param("random", None, marks=pytest.mark.slow),
        pytest.param("none", 20, marks=pytest.mark.slow),
    ],
)
def test_every_format_uses_the_moving_averages(name, input_size, tmp_path):
    classifier = make_classifier(image_layers(name), input_size)
    path = tmp_path / "step_00"
    export_step(classifier, IMAGE, ("a", "b"), str(path), tuple(FORMATS))
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    features = classifier(images, training=False)["features"]
    expected = keras.ops.convert_to_numpy(features)
    for file in ("", "model.tflite", "model.onnx", "model.keras"):
        actual = load_model(str(path / file)).outputs_of_images(images)["embedding"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    # As the model card calls it.
    called = keras.saving.load_model(path / "model.keras")(images)["embedding"]
    np.testing.assert_allclose(called, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("interpolation", "name", "reason"),
    [
        ("area", "onnx", r"of random images are 0\.\d% off"),
        ("bicubic", "litert", "Select TensorFlow op"),
    ],
)
def test_a_file_that_computes_otherwise_is_refused(
    interpolation, name, reason, tmp_path
):
    layers = [keras.layers.Resizing(12, 12, interpolation=interpolation)]
    classifier = make_classifier(layers)
    path = tmp_path / "step_00"
    with pytest.raises(RunError, match=rf"cannot be written as model\.\w+: .*{reason}"):
        export_step(classifier, IMAGE, ("a", "b"), str(path), (name,))
    assert not path.exists()


def test_a_file_of_8_bits_that_differs_gives_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(formats, "_TOLERANCE_LOW", 0.0)
    path = tmp_path / "step_00"
    export_step(make_classifier([]), IMAGE, ("a", "b"), str(path), ("litert",))
    (warning,) = caplog.messages
    assert warning.startswith("model_int8.tflite: ")
    assert (path / "model_int8.tflite").exists()
