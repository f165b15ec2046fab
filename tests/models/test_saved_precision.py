"""Files saved in 16 bits: their layers take the precision of the run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.models.saved_classifier import cut_classifier
from bsce_keras.runtime.precision import dtype_policy

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.3,), std=(0.4,))


def save(path, policy):
    """Saves a backbone whose second layer is a model, and whose last one is float32."""
    with dtype_policy(policy):
        inner = keras.Sequential([keras.Input((6, 6, 4)), keras.layers.Conv2D(4, 3)])
        images = keras.Input((8, 8, 1))
        maps = inner(keras.layers.Conv2D(4, 3, activation="relu")(images))
        pooling = keras.layers.GlobalAveragePooling2D(dtype="float32")
        keras.Model(images, pooling(maps)).save(path)
    return str(path)


def load(path, policy):
    with dtype_policy(policy):
        return load_backbone(path, IMAGE)


def policies(model):
    _, first, inner, pooling = model.layers
    return [layer.dtype_policy.name for layer in (first, inner.layers[0], pooling)]


@pytest.mark.parametrize(
    "saved", ["mixed_float16", "float16", "mixed_bfloat16", "float64"]
)
@pytest.mark.parametrize("of_run", ["float32", "mixed_bfloat16"])
def test_layers_of_16_or_64_bits_take_the_precision_of_the_run(saved, of_run, tmp_path):
    loaded = load(save(tmp_path / "net.keras", saved), of_run)
    assert policies(loaded) == [of_run, of_run, "float32"]
    assert {variable.dtype for variable in loaded.variables} == {"float32"}


def test_layers_of_float32_keep_their_precision(tmp_path):
    loaded = load(save(tmp_path / "net.keras", "float32"), "mixed_bfloat16")
    assert policies(loaded) == ["float32"] * 3


def test_network_of_another_precision_has_the_weights_of_the_file(tmp_path):
    path = save(tmp_path / "net.keras", "mixed_float16")
    images = np.random.default_rng(1).normal(size=(4, 8, 8, 1)).astype(np.float32)
    features = load(path, "float32")(images)
    np.testing.assert_allclose(features, keras.models.load_model(path)(images), 1e-2)


def test_gradients_too_small_for_float16_train_a_network_saved_in_it(tmp_path):
    """1e-9 is 0 in float16, whose smallest number is 6e-8."""
    path = save(tmp_path / "net.keras", "mixed_float16")
    images = np.ones((1, 8, 8, 1), np.float32)
    norms = {}
    for policy in ("mixed_float16", "float32"):
        network = load(path, policy)
        with tf.GradientTape() as tape:
            loss = 1e-9 * keras.ops.sum(network(images))
        gradients = tape.gradient(loss, network.trainable_variables)
        norms[policy] = float(tf.linalg.global_norm(gradients))
    assert norms["mixed_float16"] == 0
    assert norms["float32"] > 0


def test_classifier_saved_in_float16_is_cut_in_the_precision_of_the_run(tmp_path):
    with dtype_policy("mixed_float16"):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
                keras.layers.Dense(3, "softmax", dtype="float32"),
            ]
        )
    model.save(tmp_path / "net.keras")
    with dtype_policy("float32"):
        cut = cut_classifier(str(tmp_path / "net.keras"), IMAGE)
    assert cut.backbone.layers[-1].compute_dtype == "float32"
    np.testing.assert_array_equal(cut.kernel, model.layers[-1].kernel)
