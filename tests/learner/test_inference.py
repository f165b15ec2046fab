"""Inference shows centre crops to a classifier, in order."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.learner import inference
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.learner import Learner
from bsce_keras.models.classifier import largest_side
from bsce_keras.runtime.devices import Runtime

IMAGE = ImageSpec(size=2, stored_size=4, channels=1, pad=1)


def pixels_as_features():
    """Returns a classifier whose features are the pixels, in inference mode only."""
    images = keras.Input((IMAGE.size, IMAGE.size, 1))
    flat = keras.layers.Flatten()(keras.layers.Dropout(0.5)(images))
    return keras.Model(images, {"features": flat, "logits": -flat})


@pytest.mark.parametrize("batch_size", [2, 5, 500])
def test_classifier_sees_centre_crops_in_order(batch_size, monkeypatch):
    monkeypatch.setattr(inference, "_CIFAR_IMAGES", batch_size * 4**2 / 32**2)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    shown = Inference(pixels_as_features(), IMAGE)
    centres = images[:, 1:3, 1:3].reshape(5, 4)
    np.testing.assert_array_equal(shown.features(images), centres)
    np.testing.assert_array_equal(shown.logits(images), -centres.astype(np.float32))
    mirrored = images[:, 1:3, 2:0:-1].reshape(5, 4)
    np.testing.assert_array_equal(shown.features(images, mirrored=True), mirrored)


def test_a_classifier_is_served_by_its_calibrated_logits(tiny_config):
    config = tiny_config()
    side = config.stream.image.size
    inputs = keras.Input((side, side, 1))
    flat = keras.layers.Flatten()(inputs)
    outputs = {"features": flat, "logits": -flat, "calibrated_logits": flat / 2}
    learner = Learner(config, Runtime(), None)
    learner.adopt(classifier := keras.Model(inputs, outputs))
    images = np.full((3, side, side, 1), 40, np.uint8)
    with learner.serving(classifier) as logits_of:
        assert np.all(logits_of(images) == 20)
    assert np.all(learner.logits(images) == -40)


def test_features_of_a_network_in_bfloat16_are_float32():
    """Means of exemplars are then computed in float32 at least."""
    images = keras.Input((IMAGE.size, IMAGE.size, 1))
    narrow = keras.layers.Flatten(dtype="bfloat16")(images)
    shown = Inference(
        keras.Model(images, {"features": narrow, "logits": narrow}), IMAGE
    )
    pixels = np.full((3, 4, 4, 1), 40, np.uint8)
    for values in (shown.features(pixels), shown.logits(pixels)):
        assert values.dtype == np.float32 and np.all(values == 40)


def test_the_largest_side_is_the_one_that_images_are_resized_to():
    images = keras.Input((IMAGE.size, IMAGE.size, 1))
    resized = keras.layers.Resizing(320, 320)(images)
    classifier = keras.Model(images, {"features": resized, "logits": resized})
    assert largest_side(classifier, IMAGE) == 320
    assert largest_side(pixels_as_features(), IMAGE) == IMAGE.stored_size
