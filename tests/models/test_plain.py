"""A plain copy has Keras's layers only, and predicts what the classifier does."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec, ModelConfig
from bsce_keras.config.choices import SAVED
from bsce_keras.models.analytic_head import AnalyticHead
from bsce_keras.models.classifier import build_classifier, preprocessing, with_head
from bsce_keras.models.heads import (
    BiasCorrectedHead,
    CosineHead,
    LinearHead,
    LocalSimilarityHead,
    NearestMeanHead,
)
from bsce_keras.models.plain import foreign_layers, plain
from bsce_keras.models.resnet_cifar import resnet8

IMAGE = ImageSpec(size=8, stored_size=8, channels=3)


def make_classifier(head, variant="il_baseline"):
    """Returns a ResNet-8 whose variables and moving averages are random."""
    keras.utils.set_random_seed(0)
    classifier = build_classifier(resnet8(variant, channels=3), head, IMAGE)
    randomize(classifier)
    return classifier


def randomize(model):
    rng = np.random.default_rng(0)
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value * rng.uniform(0.5, 1.5, value.shape) + 0.1)


def predictor():
    classifier = make_classifier(LinearHead(5))
    nearest = with_head(classifier, NearestMeanHead(5))
    randomize(nearest)
    return nearest


def images():
    return np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), np.uint8)


def logits_of(model):
    outputs = model(images(), training=False)
    return keras.ops.convert_to_numpy(outputs["logits"])


def pretrained():
    """Returns a classifier with layers as pretrained networks have them."""
    keras.utils.set_random_seed(0)
    statistics = keras.layers.Normalization()
    statistics.adapt(np.random.default_rng(3).normal(2.0, 3.0, (50, 3)))
    values = keras.Input((16, 16, 3))
    stem = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.ReLU()])
    pooled = keras.layers.GlobalAveragePooling2D()(stem(statistics(values)))
    backbone = keras.Model(values, keras.layers.Dropout(0.5)(pooled))
    config = ModelConfig(SAVED, input="caffe_bgr", input_size=16)
    layers = preprocessing(config, IMAGE)
    return build_classifier(backbone, LinearHead(5), IMAGE, layers)


@pytest.mark.parametrize(
    "classifier",
    [
        lambda: make_classifier(LinearHead(5)),
        pretrained,
        lambda: make_classifier(BiasCorrectedHead(3, 2)),
        lambda: make_classifier(CosineHead(3, 2), "lucir"),
        lambda: make_classifier(CosineHead(0, 5), "podnet"),
        predictor,
        lambda: make_classifier(AnalyticHead(5, 16, compensates=True)),
    ],
    ids=[
        "linear",
        "pretrained",
        "bic",
        "cosine",
        "podnet backbone",
        "nearest mean",
        "analytic",
    ],
)
def test_a_plain_copy_has_the_same_outputs(classifier):
    """Calibrated logits and features, which are served, are among them."""
    original = classifier()
    copy = plain(original)
    found, expected = (model(images(), training=False) for model in (copy, original))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, 1e-4, 1e-4, err_msg=name)
    assert foreign_layers(copy) == []
    assert foreign_layers(original)


@pytest.mark.parametrize("head", [LinearHead(5), AnalyticHead(5, 16)])
def test_a_plain_copy_of_a_mixed_classifier_computes_in_float32(head):
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = make_classifier(head)
    copy = plain(mixed)
    keras.config.set_dtype_policy("float32")
    same_weights = make_classifier(head.from_config(head.get_config()))
    same_weights.set_weights(mixed.get_weights())
    np.testing.assert_allclose(logits_of(copy), logits_of(same_weights), 1e-4, 1e-4)


def test_a_saved_plain_copy_needs_only_keras(tmp_path, run_python):
    copy = plain(make_classifier(LinearHead(5)))
    copy.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images())
    out, _ = run_python(
        "import sys; sys.modules['bsce_keras'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('model.keras')\n"
        "np.save('logits.npy', model(np.load('images.npy'))['logits'])\n"
    )
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), logits_of(copy), 1e-5)


def test_a_head_without_plain_layers_is_named():
    copy = plain(make_classifier(LocalSimilarityHead(3, 2), "podnet"))
    assert foreign_layers(copy) == ["LocalSimilarityHead"]
