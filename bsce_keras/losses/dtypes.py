"""Precision of the losses: at least float32, whatever the network computes in."""

from typing import Any

import keras
from keras import ops

# Tensor, array or list of numbers. Keras backends share no type of tensors.
Tensor = Any


def at_least_float32(values):
    """Returns a tensor of `values`: float64 stays, other types become float32."""
    tensor = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(tensor.dtype) == "float64":
        return tensor
    return ops.cast(tensor, "float32")


def loss_dtype(dtype):
    """Type of a `keras.losses.Loss`: "float64" if asked for, else "float32".

    Keras converts labels to this type: bfloat16 would round label 257 to 256.
    """
    policy = keras.dtype_policies.get(dtype or keras.backend.floatx())
    return "float64" if policy.compute_dtype == "float64" else "float32"
