"""Joint training: every step learns all seen classes anew, an upper bound."""

from bsce_keras.methods.base import Method


class Joint(Method):
    """The classification term alone, on all images of all seen classes.

    Every step begins with a new network, so that its accuracy is what training on all
    these images at once gives.
    """

    uses_teacher = False
    starts_afresh = True
