"""Backbones are built as asked, and served logits are moved and divided exactly."""

import sys
import types

import keras
import numpy as np

from bsce_keras import make_config
from bsce_keras.config.backbones import BACKBONES, Backbone
from bsce_keras.models.classifier import make_backbone, with_alpha, with_temperature


def mean_colour(variant, image_size, channels, synchronized):
    images = keras.Input((image_size, image_size, channels))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def test_backbone_is_built_as_the_method_and_the_run_ask(monkeypatch):
    asked = {}
    module = types.ModuleType("asked")
    module.build = lambda **arguments: asked.update(arguments)
    monkeypatch.setitem(sys.modules, "asked", module)
    monkeypatch.setitem(BACKBONES, "asked", Backbone("asked:build"))
    config = make_config("digits", backbone="asked", synchronized_batch_norm=True)
    make_backbone(config.model, config.stream.image, "podnet")
    wanted = {"variant": "podnet", "image_size": 8, "channels": 1, "synchronized": True}
    assert asked == wanted


def test_backbone_needs_only_its_entry_and_its_function(monkeypatch):
    module = types.ModuleType("colours")
    module.mean_colour = mean_colour
    monkeypatch.setitem(sys.modules, "colours", module)
    monkeypatch.setitem(BACKBONES, "mean_colour", Backbone("colours:mean_colour"))
    config = make_config("digits", backbone="mean_colour")
    backbone = make_backbone(config.model, config.stream.image, "lucir")
    assert backbone.output.shape == (None, 1)


def test_moved_and_divided_logits_stay_float32_under_mixed_precision():
    """100.3 has no bfloat16; the nearest is 100.5."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    logits = keras.Input((2,))
    kept = keras.layers.Identity(dtype="float32")(logits)
    classifier = keras.Model(logits, {"logits": kept})
    divided = with_temperature(classifier, 0.5)
    moved = with_alpha(divided, num_old_classes=1, alpha=np.e)
    outputs = moved(np.array([[100.3, 100.3]], np.float32))
    np.testing.assert_allclose(outputs["logits"], [[100.3, 100.3]], rtol=1e-6)
    found = outputs["calibrated_logits"]
    np.testing.assert_allclose(found, [[201.6, 200.6]], rtol=1e-6)
