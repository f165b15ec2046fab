"""Pretrained backbones: their input, their random layers and refused classifiers."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec, ModelConfig
from bsce_keras.config.choices import SAVED
from bsce_keras.models.classifier import build_classifier, make_backbone, preprocessing
from bsce_keras.models.folding import folded
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.runtime.errors import RequestError

LITE = pathlib.Path(os.environ.get("BSCE_PRETRAINED", "pretrained"))
IMAGE = ImageSpec(size=32, stored_size=32)
PIXELS = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), np.uint8)


def features_of(config, image, pixels):
    classifier = build_classifier(
        make_backbone(config, image, None),
        LinearHead(2),
        image,
        preprocessing(config, image),
    )
    return np.asarray(classifier(pixels, training=False)["features"])


@pytest.mark.parametrize(
    ("name", "input_", "module"),
    [
        ("MobileNet", "-1_1", "mobilenet"),
        ("VGG16", "caffe_bgr", "vgg16"),
        pytest.param(
            *("DenseNet121", "imagenet_mean_std", "densenet"), marks=pytest.mark.slow
        ),
        pytest.param(
            *("EfficientNetB0", "0_255", "efficientnet"), marks=pytest.mark.slow
        ),
    ],
)
def test_application_sees_images_as_its_own_preprocessing_makes_them(
    name, input_, module, tmp_path
):
    model = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    path = str(tmp_path / "w.weights.h5")
    model.save_weights(path)
    config = ModelConfig(f"applications:{name}", backbone_path=path, input=input_)
    preprocess = getattr(keras.applications, module).preprocess_input
    expected = model(preprocess(PIXELS.astype(np.float32)), training=False)
    np.testing.assert_allclose(
        features_of(config, IMAGE, PIXELS), expected, rtol=2e-4, atol=1e-5
    )


def test_weights_of_another_application_are_refused(tmp_path):
    path = str(tmp_path / "w.weights.h5")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    config = ModelConfig("applications:VGG16", backbone_path=path, input="caffe_bgr")
    with pytest.raises(RequestError, match="VGG16 cannot be built with weights"):
        make_backbone(config, IMAGE, None)


def test_failed_fetch_of_weights_names_the_network_and_the_flag_of_a_file(monkeypatch):
    def unreachable(**kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- refused")

    monkeypatch.setattr(keras.applications, "MobileNet", unreachable)
    config = ModelConfig("applications:MobileNet", input="-1_1")
    with pytest.raises(RequestError) as refused:
        make_backbone(config, IMAGE, None)
    assert "with network access, or pass a file" in str(refused.value)
    assert "--backbone_weights" in str(refused.value)


def test_images_are_resized_for_the_backbone(tmp_path):
    path = str(tmp_path / "net.keras")
    images = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    keras.Model(images, pooled).save(path)
    config = ModelConfig(SAVED, backbone_path=path, input="unit", input_size=64)
    flat = np.full((1, 32, 32, 3), 51, np.uint8)
    np.testing.assert_allclose(features_of(config, IMAGE, flat), 0.2, rtol=1e-4)


def test_images_are_made_smaller_without_aliasing():
    config = ModelConfig(SAVED, input="0_255", input_size=12)
    values = PIXELS
    for layer in preprocessing(config, IMAGE):
        values = layer(values)
    expected = tf.image.resize(PIXELS, (12, 12), antialias=True)
    np.testing.assert_allclose(values, expected, atol=1e-3)


def test_images_are_resized_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    values = PIXELS
    for layer in preprocessing(ModelConfig(SAVED, input="0_255", input_size=12), IMAGE):
        values = layer(values)
    expected = tf.image.resize(PIXELS, (12, 12), antialias=True)
    np.testing.assert_allclose(tf.cast(values, "float32"), expected, atol=1e-3)


def test_classifier_with_softmax_is_refused_by_the_name_of_its_layer(tmp_path):
    path = str(tmp_path / "net.keras")
    keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax", name="predictions"),
        ]
    ).save(path)
    with pytest.raises(
        RequestError,
        match="'predictions' ends in a softmax over 10 classes. Use --initial_model",
    ):
        load_backbone(path, IMAGE)


def test_preset_of_keras_hub_gives_class_token_and_input(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    vit = keras_hub.models.ViTBackbone(
        *((32, 32, 3), 8, 1, 2, 16, 32), dropout_rate=0.1, dtype="float32"
    )
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(32, 32), scale=[1 / 127.5] * 3, offset=[-1.0] * 3
    )
    vit.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    config = ModelConfig(
        "keras_hub:folder", backbone_path=str(tmp_path), input="as_preset"
    )
    expected = vit(PIXELS / np.float32(127.5) - 1, training=False)[:, 0]
    np.testing.assert_allclose(
        features_of(config, IMAGE, PIXELS), expected, rtol=1e-4, atol=1e-5
    )


def test_folded_copy_of_a_network_with_input_statistics_equals_it():
    """Normalization holds its statistics twice; a copy has to bring both up to date."""
    images = keras.Input((8, 8, 3))
    statistics = keras.layers.Normalization()
    statistics.adapt(PIXELS.astype(np.float32) / 255)
    values = keras.layers.Conv2D(4, 3)(statistics(images))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(values))
    image = ImageSpec(size=8, stored_size=8)
    classifier = build_classifier(backbone, LinearHead(2), image)
    pixels = PIXELS[:, :8, :8]
    np.testing.assert_allclose(
        folded(classifier)(pixels)["logits"], classifier(pixels)["logits"], rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.skipif(not LITE.is_dir(), reason="BSCE_PRETRAINED names no folder")
@pytest.mark.parametrize(
    ("size", "images", "expected"),
    [(64, "images", "features"), (224, "images_224", "features_224")],
)
def test_features_of_efficientnet_lite_equal_the_original(size, images, expected):
    """The original is the PyTorch network in float64."""
    check = np.load(LITE / "features_check.npz")
    path = str(LITE / "efficientnet_lite0.keras")
    config = ModelConfig(SAVED, backbone_path=path, input="imagenet_mean_std")
    image = ImageSpec(size=size, stored_size=size)
    error = features_of(config, image, check[images]) - check[expected]
    norms = np.linalg.norm(error, axis=1) / np.linalg.norm(check[expected], axis=1)
    assert norms.max() < 1e-4
