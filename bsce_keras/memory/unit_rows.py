"""Rows brought to length 1, in NumPy."""

import numpy as np

_SHORTEST = 1e-12


def unit_rows(rows):
    """The rows of an array `(..., d)`, each divided by its length.

    One shorter than 1e-12 is divided by that: a row of zeros stays one.
    """
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(lengths, _SHORTEST)
