"""Random numbers as a function of where they are used, not of what came before.

A draw is keyed by (seed, purpose, step, ...), so a run that is resumed draws what the
uninterrupted one would have drawn, and nothing random needs saving.
"""

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """What a draw is for; two purposes never share numbers."""

    WEIGHTS = 0
    EPOCH_ORDER = 1
    AUGMENTATION = 2
    VALIDATION_SPLIT = 3
    VALIDATION_ORDER = 4
    VALIDATION_AUGMENTATION = 5
    EXEMPLARS = 6
    IMPRINTING = 7
    HELD_OUT = 8
    SET_ASIDE = 9
    GRAPH = 10
    ANCHORS = 11
    EXEMPLAR_GROUPS = 12
    EXEMPLAR_HALVES = 13
    EXEMPLAR_QUERIES = 14


def generator(seed, purpose, *position):
    """A NumPy generator for one purpose at one position (step, epoch, ...)."""
    return np.random.default_rng([seed, int(purpose), *position])


def integer(seed, purpose, *position):
    """A seed below 2**31 for libraries that take one integer."""
    return int(generator(seed, purpose, *position).integers(2**31))
