"""Antialiased resizing of a plain copy gives the pixels of Keras's layer."""

import keras
import numpy as np
import pytest

from bsce_keras.models.plain import plain

SHAPE = (14, 15, 3)
CASES = [
    ((20, 21), "bilinear"),
    ((9, 8), "bilinear"),
    ((20, 7), "bilinear"),
    ((20, 21), "bicubic"),
    ((6, 15), "lanczos3"),
]


@pytest.mark.parametrize(("sides", "interpolation"), CASES)
def test_pixels_are_those_of_the_layer(sides, interpolation):
    images = keras.Input(SHAPE)
    layer = keras.layers.Resizing(*sides, interpolation, antialias=True)
    model = keras.Model(images, {"logits": layer(images)})
    copy = plain(model)
    assert not any(getattr(one, "antialias", False) for one in copy.layers)
    values = np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype(np.float32)
    expected, actual = (
        keras.ops.convert_to_numpy(one(values)["logits"]) for one in (model, copy)
    )
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)
