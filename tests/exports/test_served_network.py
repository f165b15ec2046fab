"""The network that files hold sees the squares as evaluation and SavedModel do."""

import dataclasses

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.config.export_formats import FORMATS
from bsce_keras.exports import formats
from bsce_keras.exports.saved_model import ExportedClassifier
from bsce_keras.learner.inference import Inference
from bsce_keras.models.heads import LinearHead
from bsce_keras.runtime.errors import RunError


def pixels_as_features(image):
    """Returns a classifier whose features are the pixels that it is shown."""
    images = keras.Input((image.size, image.size, 1))
    features = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(images))
    return keras.Model(images, {"features": features, "logits": features[:, :3]})


@pytest.mark.parametrize("pad", [0, 2])
def test_an_odd_margin_is_cut_alike_everywhere(pad):
    image = ImageSpec(size=4, stored_size=7, channels=1, pad=pad)
    classifier = pixels_as_features(image)
    images = np.random.default_rng(0).integers(0, 256, (3, 7, 7, 1), np.uint8)
    expected = images[:, 1:5, 1:5].reshape(3, 16)
    exported = ExportedClassifier(classifier, image, ("a", "b", "c"))
    for found in (
        Inference(classifier, image).features(images),
        formats.served_network(classifier, image)(images)["embedding"],
        exported.serve(images)["embedding"],
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_file_that_gives_nan_is_refused(monkeypatch):
    """The largest of several differences is that of NaN, wherever it is."""
    image = ImageSpec(size=4, stored_size=4, channels=1)
    network = formats.served_network(pixels_as_features(image), image)

    def broken(images):
        outputs = {name: np.array(value) for name, value in network(images).items()}
        outputs["embedding"][0, 0] = np.nan
        return outputs

    monkeypatch.setattr(formats, "load_runner", lambda path: broken)
    with pytest.raises(RunError, match="its embedding of random images are inf% off"):
        formats._compare(network, "model.onnx")


def test_a_file_whose_outputs_are_zeros_as_they_should_be_is_kept(monkeypatch):
    """As features of a ReLU that no random image passes."""
    images = keras.Input((4, 4, 1))
    zeros = keras.layers.Flatten()(keras.layers.Rescaling(0.0)(images))
    classifier = keras.Model(images, {"features": zeros, "logits": zeros[:, :3]})
    image = ImageSpec(size=4, stored_size=4, channels=1)
    network = formats.served_network(classifier, image)
    monkeypatch.setattr(formats, "load_runner", lambda path: network)
    formats._compare(network, "model.onnx")


def test_a_format_is_written_without_the_program_that_runs_it(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    written = dataclasses.replace(FORMATS["onnx"], write=f"{__name__}:write_nothing")
    monkeypatch.setitem(FORMATS, "onnx", written)
    image = ImageSpec(size=4, stored_size=4, channels=1)
    formats.write_formats(("onnx",), pixels_as_features(image), image, str(tmp_path))
    assert (tmp_path / "model.onnx").exists()
    assert "comparison of model.onnx with the network was left out" in caplog.text
    assert "needs onnxruntime. Install by" in caplog.text


def write_nothing(network, path):
    open(path, "x").close()


class OwnHead(keras.layers.Layer):
    """Head of a method outside the package, without `plain`."""

    def call(self, features):
        return features


@keras.saving.register_keras_serializable(package="tests")
class HalvedHead(LinearHead):
    """Head that overrides `call`, but not the `plain` of the package's head."""

    def __init__(self, num_classes, divisor=1.0, **kwargs):
        super().__init__(num_classes, **kwargs)
        self.divisor = divisor

    def call(self, features):
        return {"logits": super().call(features)["logits"] / self.divisor}


class HalvedHeadOfConfig(HalvedHead):
    def get_config(self):
        return {**super().get_config(), "divisor": self.divisor}


def headed(head, image):
    images = keras.Input((image.size, image.size, 1))
    features = keras.layers.Flatten()(keras.layers.Rescaling(0.01)(images))
    return keras.Model(images, {"features": features, **head(features)})


def test_a_head_that_overrides_call_is_not_replaced_by_the_head_it_extends():
    image = ImageSpec(size=4, stored_size=4, channels=1)
    classifier = headed(HalvedHeadOfConfig(3, divisor=2.0), image)
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
    np.testing.assert_allclose(
        formats.served_network(classifier, image)(images)["probabilities"],
        keras.ops.softmax(classifier(images)["logits"]),
        rtol=1e-5,
    )


def test_files_of_a_layer_without_its_whole_config_are_refused(tmp_path):
    image = ImageSpec(size=4, stored_size=4, channels=1)
    classifier = headed(HalvedHead(3, divisor=2.0), image)
    with pytest.raises(RunError, match="probabilities of random images .*get_config"):
        formats.write_formats(("keras",), classifier, image, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_keras_file_with_a_head_of_its_own_names_the_module_to_import(
    tmp_path, caplog
):
    images = keras.Input((4,))
    network = keras.Model(images, OwnHead()(images))
    formats.write_keras(network, str(tmp_path / "model.keras"))
    [warning] = caplog.messages
    assert "(OwnHead)" in warning
    assert f"Import {__name__} before" in warning
    assert "bsce_keras" not in warning
