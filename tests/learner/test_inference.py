"""Inference shows centre crops to a classifier, in order."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.learner import inference
from bsce_keras.learner.inference import Inference

IMAGE = ImageSpec(size=2, stored_size=4, channels=1, pad=1)


def pixels_as_features(images, training):
    assert not training
    flat = tf.reshape(images, (-1, IMAGE.size**2))
    return {"features": flat, "logits": -tf.cast(flat, tf.float32)}


@pytest.mark.parametrize("batch_size", [2, 5, 500])
def test_classifier_sees_centre_crops_in_order(batch_size, monkeypatch):
    monkeypatch.setattr(inference, "_CIFAR_IMAGES", batch_size * 4**2 / 32**2)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    shown = Inference(pixels_as_features, IMAGE)
    centres = images[:, 1:3, 1:3].reshape(5, 4)
    np.testing.assert_array_equal(shown.features(images), centres)
    np.testing.assert_array_equal(shown.logits(images), -centres.astype(np.float32))
