"""Search space of `tune`: lists of numbers and ranges. Imports no TensorFlow."""

import dataclasses
import math

from bsce_keras.options.train_options import repeatable
from bsce_keras.options.values import literal, named_values

# Flags of `tune` that define the search space, and the keyword of `make_config` that
# each of them varies.
SEARCHED = {
    "alphas": "alpha",
    "learning_rates": "learning_rate",
    "weight_decays": "weight_decay",
}
# Begins the name of a searched parameter of the method.
_PARAMETER = "method_parameters."
# Jodelet et al., Table 2.
PAPER_ALPHAS = "0.1,0.25,0.5,1"


@dataclasses.dataclass(frozen=True)
class Values:
    """Values to try, in this order: numbers, or choices of a parameter."""

    values: tuple[float | str, ...]

    @property
    def examples(self):
        """Values of the space that suffice to check a request."""
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


def read_parameter_spaces(text):
    """Reads `margin=0.3:0.6;top_k=1,2`, spaces of parameters of the method.

    Returns:
        `(spaces, problems)`: `Values` or `Range` by name, see `with_values`.

    >>> read_parameter_spaces("top_k=1,2")
    ({'method_parameters.top_k': Values(values=(1, 2))}, [])
    """
    spaces, problems = {}, []
    for part in text.split(";"):
        name, equals, listed = part.strip().partition("=")
        key = f"{_PARAMETER}{name}"
        if not (name and equals and listed) or key in spaces:
            problems.append(
                "--parameter_values must be different names with values each, such as "
                f"margin=0.3,0.5;top_k=1,2. Received: {part!r}"
            )
        elif ":" in listed:
            spaces[key], found = read_space(f"parameter_values={name}", listed)
            problems += found
        else:
            values = [literal(value.strip()) for value in listed.split(",")]
            spaces[key] = Values(tuple(dict.fromkeys(values)))
    return spaces, problems


def parameters_in(values):
    """Returns the parameters of the method among the values of a trial, by name.

    >>> parameters_in({"alpha": 1.0, "method_parameters.top_k": 2})
    {'top_k': 2}
    """
    return {
        name.removeprefix(_PARAMETER): value
        for name, value in values.items()
        if name.startswith(_PARAMETER)
    }


def with_values(request, values):
    """Returns keywords of `make_config` with the values of a trial.

    Args:
        request: keywords that the trials have in common.
        values: values by keyword, or by `method_parameters.NAME` for a parameter of the
            method.
    """
    parameters = parameters_in(values)
    others = {
        name: value for name, value in values.items() if not name.startswith(_PARAMETER)
    }
    given = request.get("method_parameters")
    common = {} if given is None else named_values(given)
    # `make_config` reports common parameters that cannot be read.
    if parameters and common is not None:
        others["method_parameters"] = {**common, **parameters}
    return {**request, **others}


def flag_lines(request):
    """Returns the lines of a flagfile for keywords of `make_config`."""
    return [
        f"--{name}={_text(repeatable(name, value))}" for name, value in request.items()
    ]


def _text(value):
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(item)}" for name, item in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


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
