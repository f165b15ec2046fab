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
from bsce_keras.runtime.errors import RunError
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
    # Keras's image layers are called in training mode unless told otherwise, and hand
    # the mode on to batch normalisation.
    outputs = plain(classifier)(squares, training=False)
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

    Raises:
        RunError: a format lacks an operation of the network.
    """
    chosen = [FORMATS[name] for name in names if FORMATS[name].write]
    if not chosen:
        return
    network = served_network(classifier, image)
    for one in chosen:
        for file in one.files:
            named_object(one.write)(network, os.path.join(folder, file))


def _refuse(path, error):
    """Raises `RunError` for a network that a format cannot hold."""
    file = os.path.basename(path)
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if line.startswith(("Custom ops:", "No Op"))]
    reason = next(iter(named + lines), "").rstrip(".")
    raise RunError(
        f"The network cannot be written as {file}: {reason}. Leave this format out of "
        "--export_formats, or use another backbone."
    ) from error


def write_litert(network, path):
    """Writes a LiteRT file; a name with `int8` gets weights of 8 bits.

    The 8-bit file has dynamic-range quantisation: weights are int8, activations float.
    """
    options = {}
    if "int8" in os.path.basename(path):
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    try:
        with _quiet():
            network.export(path, format="litert", verbose=False, **options)
    except Exception as error:  # TensorFlow does not document its converter's errors.
        if type(error).__name__ != "ConverterError":
            raise
        _refuse(path, error)


def write_onnx(network, path):
    """Writes an ONNX file, by Keras and tf2onnx."""
    import onnx

    shape, dtype = network.input.shape, network.input.dtype
    with _quiet():
        # Keras refuses uncalled networks.
        network(np.zeros((1, *shape[1:]), dtype), training=False)
        network.export(path, format="onnx", verbose=False)
    try:
        # Of an operation that ONNX lacks, tf2onnx writes the name.
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        _refuse(path, error)


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
