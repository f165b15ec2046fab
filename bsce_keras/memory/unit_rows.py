"""Rows scaled to length 1, in NumPy."""

import numpy as np

_SHORTEST = 1e-12


def unit_rows(rows):
    """Returns the rows of an array `(..., d)`, each divided by its length.

    Rows shorter than 1e-12 are divided by 1e-12, so a row of zeros stays zero.
    """
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(lengths, _SHORTEST)
