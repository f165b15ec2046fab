"""A folded classifier answers as the one it was made of."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.models.classifier import build_classifier, head_of
from bsce_keras.models.folding import folded
from bsce_keras.models.heads import CosineHead, LinearHead
from bsce_keras.models.layers import FusedBatchNormalization, convolution
from bsce_keras.models.resnet import resnet18
from bsce_keras.models.resnet_cifar import resnet8

IMAGE = ImageSpec(size=16, stored_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def trained_classifier(make=resnet8, variant="il_baseline", head=None):
    """A classifier whose every weight and average is away from where it starts."""
    backbone = make(variant, IMAGE.size, channels=3)
    classifier = build_classifier(backbone, head or LinearHead(3), IMAGE)
    rng = np.random.default_rng(1)
    for weight in classifier.weights:
        weight.assign(np.abs(weight.numpy() + rng.normal(0, 0.2, weight.shape)) + 0.1)
    return classifier


def images(count=4):
    shape = (count, IMAGE.size, IMAGE.size, 3)
    return np.random.default_rng(2).integers(0, 256, shape, np.uint8)


def assert_same_outputs(ours, reference, tolerance):
    assert ours.keys() == reference.keys()
    for name, expected in reference.items():
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(
            np.float32(ours[name]) / scale,
            np.float32(expected) / scale,
            atol=tolerance,
            err_msg=name,
        )


@pytest.mark.parametrize(
    ("make", "variant"),
    [(resnet8, "il_baseline"), (resnet8, "podnet"), (resnet18, "lucir")],
)
def test_every_output_is_that_of_the_classifier(make, variant):
    classifier = trained_classifier(make, variant)
    expected = classifier(images(), training=False)
    assert "stage1" in expected
    assert_same_outputs(folded(classifier)(images()), expected, 1e-5)


def test_in_bfloat16_it_stays_as_near_to_float32_as_the_classifier_does():
    exact = trained_classifier()
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = trained_classifier()
    classifier.set_weights(exact.get_weights())
    copy = folded(classifier)
    assert copy.output["stage1"].dtype == "bfloat16"
    expected = exact(images(), training=False)
    for narrow in (classifier(images(), training=False), copy(images())):
        assert_same_outputs(narrow, expected, 0.02)


def test_a_teacher_takes_no_part_in_training_and_no_normalisation_is_left():
    classifier = trained_classifier(head=CosineHead(0, 3))
    copy = folded(classifier)
    assert not copy.trainable_weights
    assert classifier.trainable_weights
    assert type(head_of(copy)) is CosineHead
    layers = copy._flatten_layers()
    assert not any(isinstance(layer, FusedBatchNormalization) for layer in layers)


def test_training_on_leaves_the_copy_as_it_was():
    classifier = trained_classifier()
    copy = folded(classifier)
    before = copy(images())["logits"]
    for weight in classifier.weights:
        weight.assign(weight * 2.0)
    np.testing.assert_array_equal(copy(images())["logits"], before)


@pytest.mark.parametrize("reader", ["output", "sum"])
def test_what_others_read_too_is_not_scaled(reader):
    inputs = keras.Input((8, 8, 2))
    maps = convolution(inputs, 3, 3)
    features = FusedBatchNormalization()(maps)
    outputs = {"features": features + maps if reader == "sum" else features}
    if reader == "output":
        outputs["maps"] = maps
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        weight.assign(np.abs(weight.numpy()) + 0.5)
    batch = np.random.default_rng(3).normal(size=(2, 8, 8, 2)).astype(np.float32)
    assert_same_outputs(folded(model)(batch), model(batch, training=False), 1e-5)
