"""A backbone consists of its entry in the table and the named function."""

import sys
import types

import keras

from bsce_keras import make_config
from bsce_keras.config.backbones import BACKBONES, Backbone
from bsce_keras.models.classifier import make_backbone


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
