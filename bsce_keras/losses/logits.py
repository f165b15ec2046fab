"""Logits of a model's outputs, whatever activation the model ends in."""

import warnings

import numpy as np
from keras import ops

from bsce_keras.losses.dtypes import at_least_float32

# TensorFlow operations that keep the meaning of their input.
_TRANSPARENT = ("Cast", "Identity")
# TensorFlow operations that only change the shape of their input.
_RESHAPING = ("ExpandDims", "Reshape", "Squeeze")
# TensorFlow operations whose outputs are not probabilities that sum to 1.
_NOT_PROBABILITIES = ("BiasAdd", "Conv2D", "MatMul", "Sigmoid")
# Smallest normal float32: keeps the log of a probability of 0 finite.
_LEAST_PROBABILITY = 1.2e-38
# Allowed distance of a sum of float16 or bfloat16 probabilities from 1.
_TOLERANCE = 0.01


def logits_of(outputs, from_logits):
    """Returns logits of a model's outputs; warns if `from_logits` contradicts them.

    Follows `_get_logits` of Keras's TensorFlow backend: the input of a final softmax is
    returned. TensorFlow graphs are searched for the softmax operation, through casts.
    In eager mode the tensor's `_keras_logits` is used if its rows sum to 1. Other
    backends keep neither while tracing, so only their eager values are checked.

    Args:
        outputs: float, shape `(..., num_classes)`: logits or probabilities.
        from_logits: True if the caller says that they are logits.

    Returns:
        Float, the same shape: logits.
    """
    operation = _operation(outputs)
    made_by = "" if operation is None else operation.type
    if made_by == "Softmax" or (made_by == "Sigmoid" and from_logits):
        return _undone(made_by.lower(), operation.inputs[0], from_logits)
    values = values_if_known(outputs)
    if values is not None and _are_probabilities(values):
        logits = getattr(outputs, "_keras_logits", None)
        if logits is not None:
            return _undone("softmax", logits, from_logits)
        if from_logits and values.shape[-1] > 1:
            _warn("True", "the rows of the outputs are probabilities that sum to 1")
    elif from_logits and _is_reshaped_softmax(outputs):
        _warn("True", "the model ends in a softmax whose outputs are reshaped")
    elif not from_logits and (values is not None or made_by in _NOT_PROBABILITIES):
        _warn("False", "the outputs are not probabilities that sum to 1")
    if from_logits:
        return outputs
    return ops.log(ops.maximum(at_least_float32(outputs), _LEAST_PROBABILITY))


def values_if_known(tensor):
    """NumPy array of a tensor; None if it is empty or being traced."""
    if hasattr(tensor, "op"):  # a tensor of a TensorFlow graph
        return None
    try:
        values = ops.convert_to_numpy(tensor)
    # JAX's tracers raise a TypeError, PyTorch's meta tensors a NotImplementedError.
    except (NotImplementedError, TypeError):
        return None
    return values if values.size else None


def _operation(outputs, passed=_TRANSPARENT):
    """Returns the TensorFlow operation that made the outputs; None outside graphs."""
    operation = getattr(outputs, "op", None)
    while operation is not None and operation.type in passed:
        operation = operation.inputs[0].op
    return operation


def _is_reshaped_softmax(outputs):
    operation = _operation(outputs, passed=(*_TRANSPARENT, *_RESHAPING))
    return operation is not None and operation.type == "Softmax"


def _are_probabilities(values):
    sums = values.sum(axis=-1)
    return values.min() >= 0 and bool(np.all(np.abs(sums - 1) < _TOLERANCE))


def _undone(activation, logits, from_logits):
    if from_logits:
        _warn("True", f"the model ends in a {activation}; its input is taken as logits")
    return logits


def _warn(given, fact):
    other = "False" if given == "True" else "True"
    warnings.warn(
        f"`BalancedSoftmaxLoss` received `from_logits={given}`, but {fact}. "
        f"Use `from_logits={other}`.",
        stacklevel=2,
    )
