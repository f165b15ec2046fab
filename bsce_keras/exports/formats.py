"""Network of an export as one file: LiteRT, ONNX or Keras.

Every file takes uint8 squares `images (batch, side, side, channels)`, where side is
`ImageSpec.stored_size`, and returns `probabilities` and `embedding`.
"""

import contextlib
import logging
import os
import pkgutil
import warnings

import keras
import numpy as np
import tensorflow as tf

from bsce_keras.config.export_formats import FORMATS
from bsce_keras.evaluation.portable_model import load_runner
from bsce_keras.models.classifier import served_logits
from bsce_keras.models.plain import foreign_classes, foreign_layers, layers_of, plain
from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.extras import missing_packages

# Largest difference of a file's outputs from those of the network, relative to their
# norm. ResNet-32 and EfficientNet-Lite0 reach 3e-6, and 0.18 with weights of 8 bits.
_TOLERANCE, _TOLERANCE_LOW = 1e-3, 0.5

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
    return _served(plain(classifier), image)


def _served(classifier, image):
    side, centre = image.stored_size, image.centre
    images = keras.Input((side, side, image.channels), name="images", dtype="uint8")
    cut = (centre.start, side - centre.stop)
    squares = keras.layers.Cropping2D((cut, cut))(images) if any(cut) else images
    # Keras's image layers are called in training mode unless told otherwise, and hand
    # the mode on to batch normalisation.
    outputs = classifier(squares, training=False)
    softmax = keras.layers.Softmax(dtype="float32")
    served = {"probabilities": softmax(served_logits(outputs))}
    if "features" in outputs:
        served["embedding"] = outputs["features"]
    return keras.Model(images, served, name="served")


def write_formats(names, classifier, image, folder):
    """Writes the files of formats into a folder, and compares them with the network.

    The network is compared with the classifier first. The comparison of a file needs
    the runtime of its format: the extras `litert` and `onnx`. Without it, a warning
    says that the file was not compared.

    Args:
        names: keys of `FORMATS`; the SavedModel is left out.
        classifier, image: as in `served_network`.
        folder: existing folder.

    Raises:
        RunError: a format lacks an operation of the network, or computes it otherwise.
    """
    chosen = [FORMATS[name] for name in names if FORMATS[name].write]
    if not chosen:
        return
    network = served_network(classifier, image)
    _compare_copy(network, classifier, image)
    for one in chosen:
        without_reader = missing_packages(
            f"The comparison of {' and '.join(one.files)} with the network was left "
            "out, because it",
            [one.reader] if one.reader else [],
            one.extra,
        )
        for problem in without_reader:
            _log.warning(problem)
        for file in one.files:
            path = os.path.join(folder, file)
            pkgutil.resolve_name(one.write)(network, path)
            if one.reader and not without_reader:
                _compare(network, path)


def _compare_copy(network, classifier, image):
    """Refuses a network of copied layers that does not compute as the classifier.

    If the classifier rounds to a lower precision, a large difference gives a warning.
    """
    worst, difference = _worst(_outputs(network), _outputs(_served(classifier, image)))
    reason = f"its {worst} of random images are {difference:.1%} off"
    is_exact = all(layer.compute_dtype == "float32" for layer in layers_of(classifier))
    if difference <= (_TOLERANCE if is_exact else _TOLERANCE_LOW):
        return
    if is_exact:
        raise RunError(
            f"The network cannot be copied for --export_formats: {reason}. A layer of "
            "your own lacks a value in its `get_config`, or its `plain` differs from "
            "its `call`. Correct it, or use --export_formats=saved_model."
        )
    _warn("The network of --export_formats", reason)


def _compare(network, path):
    """Refuses a file whose outputs for random images are not those of the network.

    Converters translate some operations wrongly and tell nothing, such as the area
    resizing of images to ONNX. A file of 8 bits that differs much gives a warning.
    """
    try:
        converted = load_runner(path)(_random_images(network))
    except Exception as error:  # The runtimes document no set of exceptions.
        raise _refusal(path, error) from error
    worst, difference = _worst(converted, _outputs(network))
    reason = f"its {worst} of random images are {difference:.1%} off"
    if difference <= (_TOLERANCE_LOW if _is_int8(path) else _TOLERANCE):
        return
    if not _is_int8(path):
        raise _refusal(path, reason)
    _warn(os.path.basename(path), reason)


def _warn(what, reason):
    _log.warning("%s: %s. Run bsce-compare before you use it.", what, reason)


def _random_images(network):
    shape = (4, *network.input.shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _outputs(network):
    """Returns the outputs of random images as arrays."""
    # A GPU may round to TF32, and the files are computed on the CPU.
    with tf.device("CPU:0"):
        outputs = network(_random_images(network), training=False)
    return {
        name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()
    }


def _worst(actual, expected):
    """Returns the name and the size of the largest difference."""
    differences = {
        name: _difference(actual[name], array) for name, array in expected.items()
    }
    worst = max(differences, key=differences.get)
    return worst, differences[worst]


def _difference(actual, expected):
    """Returns the norm of the difference relative to that of the expected array."""
    norm = max(np.linalg.norm(expected), 1e-6)
    return np.nan_to_num(np.linalg.norm(actual - expected) / norm, nan=np.inf)


def _is_int8(path):
    return "int8" in os.path.basename(path)


def _refusal(path, reason):
    """Returns the `RunError` of a network that a format cannot hold.

    Args:
        path: the file.
        reason: sentence, or exception of a converter, checker or runtime.
    """
    file = os.path.basename(path)
    lines = [line.strip() for line in str(reason).splitlines()]
    named = [line for line in lines if line.startswith(("Custom ops:", "No Op"))]
    reason = next(iter(named + lines), "").rstrip(".")
    return RunError(
        f"The network cannot be written as {file}: {reason}. Leave this format out of "
        "--export_formats, or use another backbone."
    )


def write_litert(network, path):
    """Writes a LiteRT file; a name with `int8` gets weights of 8 bits.

    The 8-bit file has dynamic-range quantisation: weights are int8, activations float.
    """
    options = {}
    if _is_int8(path):
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    try:
        with _quiet():
            network.export(path, format="litert", verbose=False, **options)
    except Exception as error:  # TensorFlow does not document its converter's errors.
        # Keras 3.13 raises another error because of it.
        cause = error.__cause__ or error
        if type(cause).__name__ != "ConverterError":
            raise
        raise _refusal(path, cause) from error


def write_onnx(network, path):
    """Writes an ONNX file, by Keras and tf2onnx."""
    import onnx

    shape, dtype = network.input.shape, network.input.dtype
    with _quiet():
        # Keras refuses uncalled networks.
        network(np.zeros((1, *shape[1:]), dtype), training=False)
        network.export(path, format="onnx", verbose=False)
    try:
        # tf2onnx writes operations that ONNX lacks by their names.
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        raise _refusal(path, error) from error


def write_keras(network, path):
    """Writes a `.keras` file; a warning names layers that need other packages."""
    foreign = foreign_layers(network)
    if foreign:
        modules = sorted({kind.__module__ for kind in foreign_classes(network)})
        _log.warning(
            "%s holds layers beside those of Keras (%s). Import %s before "
            "`keras.models.load_model`.",
            os.path.basename(path),
            ", ".join(foreign),
            " and ".join(modules),
        )
    network.save(path)


@contextlib.contextmanager
def _quiet():
    """Silences the notes of converters, which name neither cause nor remedy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
