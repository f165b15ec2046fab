"""Network of an export as one file: LiteRT, ONNX or Keras.

Every file takes uint8 squares `images (batch, side, side, channels)`, where side is
`ImageSpec.stored_size`, and returns `probabilities` and `embedding`.
"""

import contextlib
import logging
import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from bsce_keras.config.export_formats import FORMATS
from bsce_keras.models.classifier import served_logits
from bsce_keras.models.plain import foreign_layers, plain
from bsce_keras.runtime.named_objects import named_object

_log = logging.getLogger(__name__)


def served_network(classifier, image):
    """Returns the float32 network that the files hold, of Keras's own layers.

    Args:
        classifier: `keras.Model` from images to named outputs, such as
            `build_classifier` returns.
        image: `ImageSpec`.

    Returns:
        `keras.Model` from uint8 squares of the stored size to a dictionary:
        `probabilities (batch, num_classes)`, and `embedding (batch, d)` if the
        classifier has `features`.
    """
    side, margin = image.stored_size, image.stored_size - image.size
    images = keras.Input((side, side, image.channels), name="images", dtype="uint8")
    corner = margin // 2
    cut = (corner, margin - corner)
    squares = keras.layers.Cropping2D((cut, cut))(images) if margin else images
    outputs = plain(classifier)(squares)
    softmax = keras.layers.Softmax(dtype="float32")
    served = {"probabilities": softmax(served_logits(outputs))}
    if "features" in outputs:
        served["embedding"] = outputs["features"]
    return keras.Model(images, served, name="served")


def write_formats(names, classifier, image, folder):
    """Writes the files of formats into a folder.

    Args:
        names: keys of `FORMATS`; the SavedModel is left out.
        classifier, image: as in `served_network`.
        folder: existing folder.
    """
    chosen = [FORMATS[name] for name in names if FORMATS[name].write]
    if not chosen:
        return
    network = served_network(classifier, image)
    for one in chosen:
        for file in one.files:
            named_object(one.write)(network, os.path.join(folder, file))


def write_litert(network, path):
    """Writes a LiteRT file; a name with `int8` gets weights of 8 bits.

    The 8-bit file has dynamic-range quantisation: weights are int8, activations float.
    """
    options = {}
    if "int8" in os.path.basename(path):
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    with _quiet():
        network.export(path, format="litert", verbose=False, **options)


def write_onnx(network, path):
    """Writes an ONNX file, by Keras and tf2onnx."""
    shape, dtype = network.input.shape, network.input.dtype
    with _quiet():
        network(np.zeros((1, *shape[1:]), dtype))  # Keras refuses uncalled networks.
        network.export(path, format="onnx", verbose=False)


def write_keras(network, path):
    """Writes a `.keras` file; a warning names layers that need this package."""
    foreign = foreign_layers(network)
    if foreign:
        _log.warning(
            "%s holds layers of bsce_keras (%s). Import bsce_keras.models.heads before "
            "`keras.models.load_model`.",
            os.path.basename(path),
            ", ".join(foreign),
        )
    network.save(path)


@contextlib.contextmanager
def _quiet():
    """Silences the notes of converters, which name neither cause nor remedy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
