"""Linear heads and classifiers: start, growth and restoring."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec, ModelConfig
from bsce_keras.models.classifier import (
    build_classifier,
    grow_classifier,
    head_of,
    make_backbone,
)
from bsce_keras.models.heads import (
    BiasCorrectedHead,
    CosineHead,
    LinearHead,
    NearestMeanHead,
)
from bsce_keras.models.imprinted_head import ImprintedHead

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.3,), std=(0.4,))


def make_head(num_classes, num_features=64):
    head = LinearHead(num_classes)
    head.build((None, num_features))
    return head


def make_classifier(num_classes):
    backbone = make_backbone(ModelConfig("resnet8"), IMAGE, "il_baseline")
    return build_classifier(backbone, LinearHead(num_classes), IMAGE)


def random_images(num_images=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num_images, 8, 8, 1), dtype=np.uint8)


def test_linear_weights_start_uniform_within_the_bound():
    for weight in make_head(200).get_weights():
        assert np.abs(weight).max() <= 0.125
        assert weight.min() < -0.11 and weight.max() > 0.11
        np.testing.assert_allclose(weight.std(), 0.125 / np.sqrt(3), rtol=0.1)


def test_bias_and_kernel_are_drawn_independently():
    kernel, bias = make_head(5).get_weights()
    assert not np.any(kernel == bias)


def test_growing_copies_old_columns_and_keeps_new_ones_random():
    old, new = make_head(3), make_head(5)
    drawn = new.get_weights()
    new.grow_from(old)
    for grown, before, copied in zip(
        new.get_weights(), drawn, old.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(grown[..., :3], copied)
        np.testing.assert_array_equal(grown[..., 3:], before[..., 3:])
        assert np.any(grown[..., :3] != before[..., :3])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_under_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    classifier = make_classifier(3)
    outputs = classifier(random_images())
    assert outputs["features"].dtype == policy.removeprefix("mixed_")
    assert outputs["logits"].dtype == "float32"
    assert {weight.dtype for weight in classifier.weights} == {"float32"}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (LinearHead, {"num_classes": 7}),
        (BiasCorrectedHead, {"num_old_classes": 5, "num_new_classes": 2}),
        (NearestMeanHead, {"num_classes": 4}),
        (ImprintedHead, {"num_classes": 4}),
        (
            CosineHead,
            {"num_old_classes": 2, "num_new_classes": 3, "trains_old": True},
        ),
    ],
)
def test_head_is_restored_from_its_config(kind, settings):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(kind(**settings, name="head"))
    )
    assert type(copy) is kind and copy.name == "head"
    assert {name: getattr(copy, name) for name in settings} == settings


def test_restored_head_keeps_its_constraint():
    head = LinearHead(7, kernel_constraint="non_neg")
    copy = LinearHead.from_config(head.get_config())
    copy.build((None, 4))
    assert isinstance(copy.kernel.constraint, keras.constraints.NonNeg)


def test_classifier_returns_logits_features_and_maps_by_name():
    shapes = {
        name: tuple(output.shape)
        for name, output in make_classifier(5)(random_images()).items()
    }
    assert shapes == {
        "logits": (3, 5),
        "features": (3, 64),
        "stage1": (3, 8, 8, 16),
        "stage2": (3, 4, 4, 32),
        "stage3": (3, 2, 2, 64),
    }


def test_logits_are_the_output_of_the_head_on_features():
    classifier = make_classifier(5)
    outputs = classifier(random_images())
    kernel, bias = head_of(classifier).get_weights()
    np.testing.assert_allclose(
        outputs["logits"], outputs["features"].numpy() @ kernel + bias, atol=1e-5
    )


def test_grown_classifier_has_the_same_logits_of_old_classes():
    old, new = make_classifier(3), make_classifier(5)
    images = random_images()
    # Averages of batch normalisation must be copied as well.
    old(images, training=True)
    grow_classifier(new, old)
    before, after = old(images), new(images)
    np.testing.assert_array_equal(after["features"], before["features"])
    np.testing.assert_allclose(after["logits"][:, :3], before["logits"], atol=1e-6)


def test_saved_classifier_is_restored(tmp_path):
    classifier, images = make_classifier(3), random_images()
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    before, after = classifier(images), loaded(images)
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
