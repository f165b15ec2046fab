"""Losses are computed in float32 at least, whatever the network computes in."""

import keras
from keras import ops


def at_least_float32(values):
    """A tensor of `values`: float64 stays, everything else becomes float32."""
    tensor = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(tensor.dtype) == "float64":
        return tensor
    return ops.cast(tensor, "float32")
