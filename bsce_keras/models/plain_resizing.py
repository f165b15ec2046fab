"""Antialiased resizing by operations that LiteRT and ONNX have.

TensorFlow resizes with antialiasing by `ScaleAndTranslate`, which neither converter
knows.
"""

import keras
import numpy as np
import tensorflow as tf


def is_antialiased(layer):
    """Returns True for a `Resizing` layer that `resized` can replace."""
    return (
        isinstance(layer, keras.layers.Resizing)
        and layer.antialias
        and layer.interpolation != "nearest"
        and layer.data_format == "channels_last"
        and not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio)
    )


def resized(layer, images):
    """Resizes symbolic images as a layer does, up to rounding.

    Antialiasing changes nothing where bilinear resizing enlarges. In all other cases
    each axis is multiplied by a matrix.

    Args:
        layer: a layer for which `is_antialiased` is True.
        images: `keras.KerasTensor`, shape `(batch, height, width, channels)`.
    """
    sides = images.shape[1:3]
    if None in sides:
        return layer(images)
    target = (layer.height, layer.width)
    enlarges = all(new >= old for new, old in zip(target, sides, strict=True))
    if enlarges and layer.interpolation == "bilinear":
        return keras.layers.Resizing(
            *target, name=layer.name, data_format="channels_last", dtype="float32"
        )(images)
    # Dense layers multiply the last axis.
    for old, new, order in (
        (sides[0], layer.height, (2, 3, 1)),
        (sides[1], layer.width, (3, 2, 1)),
    ):
        images = keras.layers.Permute(order, dtype="float32")(images)
        dense = keras.layers.Dense(new, use_bias=False, dtype="float32")
        images = dense(images)
        dense.set_weights([_matrix(old, new, layer.interpolation).T])
    return keras.layers.Permute((1, 3, 2), dtype="float32", name=layer.name)(images)


def _matrix(old, new, interpolation):
    """Returns the matrix that resizes one axis, float32, shape `(new, old)`."""
    identity = np.eye(old, dtype=np.float32)[..., np.newaxis]
    moved = tf.image.resize(identity, (new, old), interpolation, antialias=True)
    return moved.numpy()[..., 0]
