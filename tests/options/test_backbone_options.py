"""Pretrained backbones on the command line: inputs, sizes and refusals."""

import json
import pathlib
import zipfile

import pytest

from bsce_keras import make_config
from bsce_keras.runtime.errors import RequestError


def layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def model(name, *layers, side=32):
    images = layer("InputLayer", "images", batch_shape=[None, side, side, 3])
    return {
        "class_name": "Functional",
        "config": {"name": name, "layers": [images, *layers]},
    }


def write(folder, config):
    """Writes a file with the parts that a request reads."""
    path = folder / "net.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", "")
    return str(path)


@pytest.fixture
def images(tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(b"")
    return str(tmp_path / "images")


def of_folder(images, **request):
    return make_config("folder", data_dir=images, **request)


CONVOLUTION = layer("Conv2D", "conv2d")
RESNET = model("resnet50", CONVOLUTION)
MOBILENET = model("mobilenetv2_1.00_224", CONVOLUTION)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (model("mine", CONVOLUTION), "normalized"),
        (MOBILENET, "-1_1"),
        (model("mine", MOBILENET, layer("Dense", "top")), "-1_1"),
        (model("mine", CONVOLUTION, layer("ReLU", "Conv1_relu")), "-1_1"),
        (
            model("mine", layer("RandomFlip", "flip"), model("resnet50", CONVOLUTION)),
            "caffe_bgr",
        ),
        (model("mine", model("resnet50v2", CONVOLUTION)), "-1_1"),
        (model("mine", layer("Rescaling", "r", scale=1 / 127.5), MOBILENET), "0_255"),
        (model("mine", layer("Rescaling", "r", scale=1 / 255)), "0_255"),
        (model("efficientnetv2-b0", CONVOLUTION), "0_255"),
        (model("densenet121", CONVOLUTION), "imagenet_mean_std"),
    ],
)
def test_input_of_a_known_network_is_detected(config, expected, tmp_path, images):
    config = of_folder(images, backbone=write(tmp_path, config))
    assert config.model.input == expected


def test_known_network_behind_unknown_layers_needs_its_input_named(tmp_path, images):
    path = write(tmp_path, model("mine", CONVOLUTION, MOBILENET))
    with pytest.raises(RequestError, match="Name them by --backbone_input: unit, "):
        of_folder(images, backbone=path)
    config = of_folder(images, backbone=path, backbone_input="unit")
    assert config.model.input == "unit"


def test_images_take_the_size_of_the_saved_network(tmp_path, images):
    path = write(tmp_path, model("mine", CONVOLUTION, side=96))
    assert of_folder(images, backbone=path).stream.image.size == 96
    with pytest.raises(RequestError) as caught:
        of_folder(images, backbone=path, image_size=64)
    assert (
        "takes images of 96x96. Received: images of 64x64. Use --image_size=96 or "
        "--backbone_input_size=96, which resizes images." in str(caught.value)
    )
    config = of_folder(images, backbone=path, image_size=64, backbone_input_size=96)
    assert (config.stream.image.size, config.model.input_size) == (64, 96)


def test_application_brings_input_and_pretrained_size(tmp_path, images):
    weights = tmp_path / "w.weights.h5"
    weights.write_bytes(b"weights")
    config = of_folder(
        images, backbone="applications:InceptionV3", backbone_weights=str(weights)
    )
    assert config.stream.image.size == 299
    assert (config.model.backbone, config.model.input) == (
        "applications:InceptionV3",
        "-1_1",
    )
    assert config.model.backbone_path == str(weights)


def test_download_serves_the_weights_of_a_folder_data_set(images):
    config = of_folder(images, backbone="applications:VGG16", download=True)
    assert config.model.backbone_path is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"backbone": "applications:MobileNetV2"}, "needs weights. Use --backbone_w"),
        (
            {"backbone": "applications:MobileNetv2", "download": True},
            "Received: 'MobileNetv2'. Did you mean MobileNetV2",
        ),
        ({"backbone_input": "unit"}, "--backbone_input=unit has no effect"),
        (
            {"backbone": "applications:VGG16", "download": True, "method": "podnet"},
            "--method=podnet needs a backbone of this package",
        ),
        ({"backbone": "keras_hub:nowhere"}, "nowhere is not a folder"),
        (
            {"backbone": "keras_hub:nowhere", "backbone_weights": "w.h5"},
            "--backbone_weights=w.h5 is for --backbone=applications:NAME",
        ),
    ],
)
def test_pretrained_backbone_that_cannot_work_is_refused(request_, expected, images):
    with pytest.raises(RequestError) as caught:
        of_folder(images, **request_)
    assert expected in str(caught.value)


def test_missing_keras_hub_is_named_with_its_command(monkeypatch, tmp_path, images):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset/config.json").write_text("{}")
    with pytest.raises(RequestError, match=r"pip install 'bsce_keras\[keras_hub\]'"):
        of_folder(images, backbone=f"keras_hub:{tmp_path}/preset")


def test_a_folder_without_config_is_not_a_preset(monkeypatch, tmp_path, images):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(RequestError, match="is not a preset, because it holds no"):
        of_folder(images, backbone=f"keras_hub:{tmp_path}")


def test_preset_in_a_folder_is_known_by_its_bytes(monkeypatch, tmp_path, images):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    preset = tmp_path / "preset"
    preset.mkdir()
    (preset / "config.json").write_text('{"config": {"image_shape": [48, 48, 3]}}')
    first = of_folder(images, backbone=f"keras_hub:{preset}")
    assert first.stream.image.size == 48
    moved = pathlib.Path(preset).rename(tmp_path / "moved")
    again = of_folder(images, backbone=f"keras_hub:{moved}")
    assert again.model.backbone_sha256 == first.model.backbone_sha256


def test_pixels_are_detected_inside_a_model_and_by_their_type(tmp_path, images):
    rescaled = model("inner", layer("Rescaling", "r", scale=1 / 255), CONVOLUTION)
    path = write(tmp_path, model("outer", layer("RandomFlip", "flip"), rescaled))
    assert of_folder(images, backbone=path).model.input == "0_255"
    of_bytes = model("mine", CONVOLUTION)
    of_bytes["config"]["layers"][0]["config"]["dtype"] = "uint8"
    path = write(tmp_path, of_bytes)
    assert of_folder(images, backbone=path).model.input == "0_255"


def test_a_frozen_backbone_computes_in_float32_unless_told(tmp_path, images):
    request = {"backbone": write(tmp_path, MOBILENET), "freeze_backbone": True}
    assert of_folder(images, **request).training.precision == "float32"
    told = of_folder(images, **request, precision="mixed_bfloat16")
    assert told.training.precision == "mixed_bfloat16"
    trained = of_folder(images, backbone=request["backbone"])
    assert trained.training.precision == "auto"
