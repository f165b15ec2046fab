"""What a search may choose from: lists of numbers and ranges. Imports no TensorFlow."""

import dataclasses
import math

# The flags of `tune` that say what is searched, and the keyword of `make_config` each
# of them varies.
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
        """Numbers that are in it, enough to check a request by."""
        return self.values


@dataclasses.dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`, searched on a log scale."""

    low: float
    high: float

    @property
    def examples(self):
        """Numbers that are in it, enough to check a request by."""
        return (self.low, self.high)


def read_space(flag, text):
    """Reads `0.1,0.25,1` or `0.1:1`.

    Returns:
        `(space, problems)`: `Values` or `Range`, None where the text is neither.

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
        f"--{flag} must be different numbers with commas between them, such as "
        "0.1,0.25,1, or a range of numbers above 0, such as 0.1:1. "
        f"Received: {text!r}"
    ]


def rounded(number):
    """To four digits, as a drawn number is used, named and asked for again."""
    return float(f"{number:.4g}")


def _number(text):
    try:
        number = float(text)
    except ValueError:
        return None
    # Python takes 1_0 for 10.
    return number if math.isfinite(number) and "_" not in text else None
