"""Checks that the sections of a configuration share."""

import math

from bsce_keras.runtime.errors import RequestError


class Checked:
    """Base class of dataclasses that raise `RequestError` if `problems()` finds any."""

    def __post_init__(self):
        problems = self.problems()
        if problems:
            raise RequestError(problems)

    def problems(self):
        """Returns a list of sentences, one for each invalid value."""
        return []


def positive(name, value):
    """Returns one sentence in a list if `value` is not finite and above 0."""
    if math.isfinite(value) and value > 0:
        return []
    return [f"{name} must be a finite number above 0. Received: {value}"]


def not_negative(name, value):
    """Returns one sentence in a list if `value` is below 0 or not a number."""
    return [] if value >= 0 else [f"{name} must be 0 or more. Received: {value}"]


def one_of(name, value, allowed):
    """Returns one sentence in a list if `value` is not allowed, else `[]`."""
    if value in allowed:
        return []
    return [f"{name} must be one of {', '.join(allowed)}. Received: {value!r}"]
