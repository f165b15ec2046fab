"""Joint training: every step learns all seen classes again, an upper bound."""

from bsce_keras.methods.base import Method


class Joint(Method):
    """Only the classification term, on all images of all seen classes.

    Every step starts with a new network. Its accuracy is therefore that of training on
    all these images at once.
    """

    uses_teacher = False
    starts_afresh = True
