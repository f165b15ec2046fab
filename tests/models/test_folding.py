"""Folded classifiers have the outputs of the originals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.folding import folded
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.layers import FusedBatchNormalization, convolution
from bsce_keras.models.plain import foreign_layers, plain
from bsce_keras.models.resnet import resnet18
from bsce_keras.models.resnet_cifar import resnet8

IMAGE = ImageSpec(size=16, stored_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def trained_classifier(make=resnet8, variant="il_baseline"):
    """Returns a classifier with all weights and averages changed from their start."""
    backbone = make(variant, IMAGE.size, channels=3)
    classifier = build_classifier(backbone, LinearHead(3), IMAGE)
    shake(classifier)
    return classifier


def shake(model):
    rng = np.random.default_rng(1)
    for weight in model.weights:
        moved = weight.numpy() + rng.normal(0, 0.2, weight.shape)
        is_variance = "variance" in weight.path
        weight.assign(np.abs(moved) + 0.1 if is_variance else moved)


def outputs_of(model, images):
    """Returns outputs by name as float32 arrays, computed in a traced graph."""
    outputs = tf.function(lambda images: model(images, training=False))(images)
    return {name: tf.cast(value, "float32").numpy() for name, value in outputs.items()}


def images(count=16):
    shape = (count, IMAGE.size, IMAGE.size, 3)
    return np.random.default_rng(2).integers(0, 256, shape, np.uint8)


def errors(ours, reference):
    """Returns relative root mean square errors by name."""
    assert ours.keys() == reference.keys()
    return {
        name: np.sqrt(np.mean((ours[name] - expected) ** 2) / np.mean(expected**2))
        for name, expected in reference.items()
    }


@pytest.mark.parametrize(
    ("make", "variant"),
    [(resnet8, "il_baseline"), (resnet8, "podnet"), (resnet18, "lucir")],
)
def test_folded_outputs_equal_those_of_the_classifier(make, variant):
    classifier = trained_classifier(make, variant)
    expected = outputs_of(classifier, images())
    assert {"stage1", "features", "logits"} <= expected.keys()
    assert max(errors(outputs_of(folded(classifier), images()), expected).values()) < (
        1e-5
    )


def test_float32_copy_equals_a_float32_classifier():
    exact = trained_classifier()
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = trained_classifier()
    classifier.set_weights(exact.get_weights())
    found = outputs_of(folded(classifier, "float32"), images())
    assert max(errors(found, outputs_of(exact, images())).values()) < 1e-5


def test_bfloat16_copy_is_as_accurate_as_the_classifier():
    exact = trained_classifier()
    expected = outputs_of(exact, images())
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = trained_classifier()
    classifier.set_weights(exact.get_weights())
    plain = errors(outputs_of(classifier, images()), expected)
    ours = errors(outputs_of(folded(classifier), images()), expected)
    assert plain["logits"] > 1e-3  # it does compute in bfloat16
    for name, error in plain.items():
        assert ours[name] < 1.5 * error, name


def test_a_copy_computes_in_the_precision_of_its_classifier():
    """A float32 classifier stays exact in a process of another precision."""
    inputs = keras.Input((8, 8, 2))
    maps = FusedBatchNormalization()(convolution(inputs, 3, 3))
    model = keras.Model(inputs, {"features": maps})
    shake(model)
    batch = np.random.default_rng(3).normal(size=(4, 8, 8, 2)).astype(np.float32)
    keras.config.set_dtype_policy("mixed_bfloat16")
    ours, expected = outputs_of(folded(model), batch), outputs_of(model, batch)
    assert max(errors(ours, expected).values()) < 1e-5


def test_normalisation_is_replaced_by_fused_shifts():
    copy = folded(trained_classifier())
    graph = tf.function(lambda images: copy(images, training=False)["logits"])
    operations = graph.get_concrete_function(images()).graph.get_operations()
    kinds = [operation.type for operation in operations]
    assert kinds.count("BiasAdd") == kinds.count("Conv2D") == 9
    assert "FusedBatchNormV3" not in kinds


def test_later_training_does_not_change_the_copy():
    classifier = trained_classifier()
    copy = folded(classifier)
    before = outputs_of(copy, images())["logits"]
    for weight in classifier.weights:
        weight.assign(weight * 2.0)
    np.testing.assert_array_equal(outputs_of(copy, images())["logits"], before)


def through_others(inputs):
    """A sum also reads the maps before normalisation."""
    maps = convolution(inputs, 3, 3)
    return {"features": FusedBatchNormalization()(maps) + maps}


def to_the_outside(inputs):
    maps = convolution(inputs, 3, 3)
    return {"features": FusedBatchNormalization()(maps), "maps": maps}


def to_the_outside_of_a_model_in_it(inputs):
    inner = keras.Input(inputs.shape[1:])
    return keras.Model(inner, to_the_outside(inner))(inputs)


def with_bias(inputs):
    maps = keras.layers.Conv2D(3, 3)(inputs)
    return {"features": FusedBatchNormalization()(maps)}


def with_activation(inputs):
    maps = keras.layers.Conv2D(3, 3, use_bias=False, activation="tanh")(inputs)
    return {"features": FusedBatchNormalization()(maps)}


@pytest.mark.parametrize(
    "layers",
    [
        through_others,
        to_the_outside,
        to_the_outside_of_a_model_in_it,
        with_bias,
        with_activation,
    ],
)
def test_kernel_is_folded_only_if_normalisation_is_its_only_reader(layers):
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, layers(inputs))
    shake(model)
    batch = np.random.default_rng(3).normal(size=(4, 8, 8, 2)).astype(np.float32)
    ours, expected = outputs_of(folded(model), batch), outputs_of(model, batch)
    assert max(errors(ours, expected).values()) < 1e-5


def test_layers_of_equal_name_in_different_models_keep_their_weights():
    inner_inputs = keras.Input((8, 8, 2))
    inner = keras.Model(
        inner_inputs, keras.layers.Conv2D(2, 1, name="twin")(inner_inputs)
    )
    inputs = keras.Input((8, 8, 2))
    outputs = keras.layers.Conv2D(2, 1, name="twin")(inner(inputs))
    model = keras.Model(inputs, {"features": outputs})
    shake(model)
    batch = np.random.default_rng(3).normal(size=(4, 8, 8, 2)).astype(np.float32)
    ours, expected = outputs_of(folded(model), batch), outputs_of(model, batch)
    assert max(errors(ours, expected).values()) < 1e-5


@keras.saving.register_keras_serializable("tests")
class Block(keras.Model):
    """Subclassed model, whose layers are not a graph that can be copied."""

    def __init__(self, **options):
        super().__init__(**options)
        self.convolution = keras.layers.Conv2D(2, 1)

    def call(self, inputs):
        return keras.ops.relu(self.convolution(inputs))


@pytest.mark.parametrize("copy", [folded, plain])
def test_copy_of_a_subclassed_block_computes_as_the_block(copy):
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, {"logits": Block()(inputs)})
    shake(model)
    batch = np.random.default_rng(3).normal(size=(4, 8, 8, 2)).astype(np.float32)
    ours, expected = outputs_of(copy(model), batch), outputs_of(model, batch)
    assert max(errors(ours, expected).values()) < 1e-5
    assert foreign_layers(copy(model)) == ["Block"]


def test_a_copy_normalises_by_the_statistics_of_the_original():
    """Networks of Keras Applications begin with such a layer."""
    statistics = keras.layers.Normalization()
    statistics.adapt(np.random.default_rng(3).normal(2.0, 3.0, (50, 2)))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, {"features": statistics(inputs)})
    ours, expected = (
        outputs_of(one, np.ones((1, 2))) for one in (folded(model), model)
    )
    np.testing.assert_allclose(ours["features"], expected["features"], rtol=1e-6)
    assert np.abs(expected["features"] - 1).min() > 0.1
