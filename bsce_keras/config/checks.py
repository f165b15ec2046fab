"""Checks that the sections of a configuration share.

A check takes the name of a value and the value. It returns a list with one sentence if
the value is invalid, else an empty list.
"""

import math

from bsce_keras.config.fields import section_settings
from bsce_keras.runtime.errors import refuse


class Checked:
    """Base class of dataclasses that raise `RequestError` if they hold invalid values.

    Each field passes the `check` of its `Setting`, unless its value is None.
    """

    def __post_init__(self):
        problems = []
        for name, setting in section_settings(type(self)).items():
            value = getattr(self, name)
            if setting.check and value is not None:
                label = f"--{setting.flag}" if setting.flag else name
                problems += setting.check(label, value)
        refuse([*problems, *self.problems()])

    def problems(self):
        """Returns a list of sentences, one for each contradiction between fields."""
        return []


def positive(name, value):
    """Checks that a number is finite and above 0."""
    if math.isfinite(value) and value > 0:
        return []
    return [f"{name} must be a finite number above 0. Received: {value}"]


def not_negative(name, value):
    """Checks that a number is finite and 0 or more."""
    if math.isfinite(value) and value >= 0:
        return []
    return [f"{name} must be 0 or more. Received: {value}"]


def one_of(allowed):
    """Returns a check that a value is one of the allowed ones."""

    def check(name, value):
        if value in allowed:
            return []
        return [f"{name} must be one of {', '.join(allowed)}. Received: {value!r}"]

    return check
