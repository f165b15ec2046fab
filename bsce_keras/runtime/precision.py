"""Precision in which Keras builds layers."""

import contextlib

import keras


@contextlib.contextmanager
def dtype_policy(name):
    """Sets Keras's precision for new layers, and restores the former one at the end.

    Args:
        name: name of a `keras.DTypePolicy`, such as `mixed_bfloat16`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
