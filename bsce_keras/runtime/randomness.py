"""Random numbers that depend on their use, not on earlier draws.

A draw is keyed by (seed, purpose, step, ...). A resumed run therefore has the same
draws as an uninterrupted one, and checkpoints do not need random states.
"""

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """Purpose of a draw; two purposes never share numbers.

    Numbers of members must not change, because they decide the draws.
    """

    WEIGHTS = 0
    EPOCH_ORDER = 1
    AUGMENTATION = 2
    VALIDATION_SPLIT = 3  # the alpha split
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
    EXPANSION = 15
    OPERATIONS = 16  # of an augmentation, after crops
    VALIDATION_OPERATIONS = 17


def generator(seed, purpose, *position):
    """Returns a NumPy generator for one purpose and position (step, epoch, ...)."""
    return np.random.default_rng([seed, int(purpose), *position])


def integer(seed, purpose, *position):
    """Returns a seed below 2**31, for libraries that take one integer."""
    return int(generator(seed, purpose, *position).integers(2**31))
