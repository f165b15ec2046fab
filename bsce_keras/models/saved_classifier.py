"""Classifiers from files that `keras.Model.save` wrote, cut into backbone and head."""

import dataclasses

import keras
import numpy as np

from bsce_keras.models.plain import is_network
from bsce_keras.models.saved_backbone import (
    checked_backbone,
    is_sigmoid,
    is_softmax,
    load_model,
)
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

    A softmax is left out: it does not change the order of the classes. A `Rescaling`
    of the logits becomes part of the head. One output z for two classes, with a sigmoid
    or without, becomes the logits -z/2 and z/2, whose softmax is 1 - sigmoid(z) and
    sigmoid(z).

    Args:
        path: path of a `.keras` file. Code in it is refused, not run.
        image: `ImageSpec` of its images.

    Returns:
        `CutClassifier`.

    Raises:
        RequestError: the file cannot be loaded, or the classifier cannot be cut.
    """
    model = load_model("--initial_model", path)
    features, kernel, bias = _parts(path, _class_scores(path, model))
    if len(bias) == 1:
        halves = np.float32([-0.5, 0.5])
        kernel, bias = kernel * halves, bias * halves
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


def _class_scores(path, model):
    """Returns the output that scores the classes: the only one, or `probabilities`."""
    outputs = getattr(model, "outputs", None) or ()
    if len(outputs) == 1:
        return outputs[0]
    named = model.output if outputs else None
    if isinstance(named, dict) and "probabilities" in named:
        return named["probabilities"]
    reason = "it must be functional with one output, or one named 'probabilities'"
    raise _no_cut(path, model, reason)


def _parts(path, scores, rescaling=None):
    """Returns the tensor of the features in front of class scores, kernel and bias.

    Args:
        path: the file, for messages.
        scores: output of a layer.
        rescaling: `Rescaling` layer that follows, or None.
    """
    # Keras (3.15) has only private ways from a tensor to its layer.
    layer, node, index = scores._keras_history
    inputs = layer._inbound_nodes[node].input_tensors
    if len(inputs) != 1:
        raise _no_cut(path, layer, f"it has {len(inputs)} inputs")
    if is_network(layer):
        features, kernel, bias = _parts(path, layer.outputs[index], rescaling)
        return keras.Model(layer.inputs[0], features)(inputs[0]), kernel, bias
    gives_probabilities = is_softmax(layer) or is_sigmoid(layer)
    if rescaling is not None and gives_probabilities:
        raise _no_cut(path, rescaling, "it changes probabilities, not logits")
    if isinstance(layer, keras.layers.Dense):
        return (inputs[0], *_weights(path, layer, inputs[0].shape))
    if is_softmax(layer) or (is_sigmoid(layer) and scores.shape[-1] == 1):
        return _parts(path, inputs[0])
    if isinstance(layer, keras.layers.Rescaling):
        features, kernel, bias = _parts(path, inputs[0], layer)
        scale = np.asarray(layer.scale, np.float32)
        return features, kernel * scale, bias * scale + np.float32(layer.offset)
    raise _no_cut(path, layer, "it must be a Dense layer, or a softmax after one")


def _weights(path, layer, input_shape):
    """Returns kernel and bias of a dense layer that gives logits or probabilities."""
    gives_probabilities = is_sigmoid if layer.units == 1 else is_softmax
    is_linear = layer.activation is keras.activations.linear
    if not (is_linear or gives_probabilities(layer)):
        raise _no_cut(path, layer, f"its activation is {layer.activation.__name__}")
    shape = (*input_shape[:-1], layer.units)
    if len(shape) != 2:
        raise _no_cut(path, layer, f"its output is {shape}, not (batch, classes)")
    bias = layer.bias if layer.use_bias else np.zeros(layer.units)
    return np.asarray(layer.kernel, np.float32), np.asarray(bias, np.float32)


def _no_cut(path, layer, reason):
    return RequestError(
        f"--initial_model={path} cannot be cut into backbone and head. Its last layer "
        f"{layer.name!r} is a {type(layer).__name__}: {reason}. Save a classifier that "
        "ends in Dense(classes), with a softmax or without, or in Dense(1) for two "
        "classes, with a sigmoid or without."
    )
