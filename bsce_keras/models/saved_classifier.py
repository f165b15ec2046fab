"""Classifiers from files that `keras.Model.save` wrote, cut into backbone and head."""

import dataclasses

import keras
import numpy as np

from bsce_keras.models.saved_backbone import checked_backbone, is_softmax, load_model
from bsce_keras.runtime.errors import RequestError


@dataclasses.dataclass(frozen=True, eq=False)
class CutClassifier:
    """Parts of a trained classifier.

    Args:
        backbone: `keras.Model` from images to features `(batch, d)`.
        kernel: weights of the head, shape `(d, num_classes)`.
        bias: shape `(num_classes,)`.
    """

    backbone: keras.Model
    kernel: np.ndarray
    bias: np.ndarray


def cut_classifier(path, image):
    """Loads a classifier and cuts it in front of its last dense layer.

    A softmax is left out: it does not change the order of the classes.

    Args:
        path: path of a `.keras` file. Code in it is refused, not run.
        image: `ImageSpec` of its images.

    Returns:
        `CutClassifier`.

    Raises:
        RequestError: the file cannot be loaded, or the classifier cannot be cut.
    """
    model = load_model("--initial_model", path)
    if len(getattr(model, "outputs", None) or ()) != 1:
        raise _no_cut(path, model, "it must be functional with one output")
    layer, features = _layer_and_input(model.outputs[0])
    while is_softmax(layer) and not isinstance(layer, keras.layers.Dense):
        layer, features = _layer_and_input(features)
    if not isinstance(layer, keras.layers.Dense):
        raise _no_cut(path, layer, "it must be a Dense layer, or a softmax after one")
    if not (is_softmax(layer) or layer.activation is keras.activations.linear):
        raise _no_cut(path, layer, f"its activation is {layer.activation.__name__}")
    if len(features.shape) != 2 or layer.units < 2:
        shape = (*features.shape[:-1], layer.units)
        raise _no_cut(path, layer, f"its output is {shape}, not (batch, classes)")
    kernel = np.asarray(layer.kernel, np.float32)
    bias = np.zeros(layer.units, np.float32)
    if layer.use_bias:
        bias = np.asarray(layer.bias, np.float32)
    backbone = keras.Model(model.inputs, features)
    backbone = checked_backbone(f"--initial_model={path}", backbone, image)
    return CutClassifier(backbone, kernel, bias)


def check_classifier(path, image, num_classes):
    """Refuses a classifier that cannot be cut or has another number of classes.

    Args:
        path, image: arguments of `cut_classifier`.
        num_classes: number of its named classes.
    """
    found = len(cut_classifier(path, image).bias)
    if found != num_classes:
        raise RequestError(
            f"--initial_classes must name the {found} outputs of --initial_model="
            f"{path}, in their order. Received: {num_classes} names."
        )


def _layer_and_input(tensor):
    """Returns the layer that computes a tensor, and the first tensor that it reads."""
    # Keras (3.15) has only private ways from a tensor to its layer.
    operation, node, _ = tensor._keras_history
    read = operation._inbound_nodes[node].input_tensors
    return operation, read[0] if read else None


def _no_cut(path, layer, reason):
    return RequestError(
        f"--initial_model={path} cannot be cut into backbone and head. Its last layer "
        f"{layer.name!r} is a {type(layer).__name__}: {reason}. Save a classifier that "
        "ends in Dense(classes), with a softmax or without."
    )
