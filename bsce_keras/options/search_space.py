"""Search space of `tune`: lists of numbers and ranges. Imports no TensorFlow."""

import dataclasses
import math

# Flags of `tune` that define the search space, and the keyword of `make_config` that
# each of them varies.
SEARCHED = {
    "alphas": "alpha",
    "learning_rates": "learning_rate",
    "weight_decays": "weight_decay",
}
# Jodelet et al., Table 2.
PAPER_ALPHAS = "0.1,0.25,0.5,1"


@dataclasses.dataclass(frozen=True)
class Values:
    """Numbers to try, in this order."""

    values: tuple[float, ...]

    @property
    def examples(self):
        """Numbers of the space that suffice to check a request."""
        return self.values


@dataclasses.dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`, searched on a log scale."""

    low: float
    high: float

    @property
    def examples(self):
        """Numbers of the space that suffice to check a request."""
        return (self.low, self.high)


def read_space(flag, text):
    """Reads `0.1,0.25,1` or `0.1:1`.

    Returns:
        `(space, problems)`: `Values` or `Range`, or None if the text is neither.

    >>> read_space("alphas", "0.1:1")
    (Range(low=0.1, high=1.0), [])
    """
    low, colon, high = text.partition(":")
    numbers = [_number(part) for part in ([low, high] if colon else text.split(","))]
    if None in numbers:
        pass
    elif not colon and len(set(numbers)) == len(numbers):
        return Values(tuple(numbers)), []
    elif colon and 0 < numbers[0] < numbers[1]:
        return Range(*numbers), []
    return None, [
        f"--{flag} must be different numbers separated by commas, such as "
        "0.1,0.25,1, or a range of numbers above 0, such as 0.1:1. "
        f"Received: {text!r}"
    ]


def rounded(number):
    """Rounds a drawn number to four digits, so that a command can repeat it."""
    return float(f"{number:.4g}")


def _number(text):
    try:
        number = float(text)
    except ValueError:
        return None
    # Python reads 1_0 as 10.
    return number if math.isfinite(number) and "_" not in text else None
