"""Conversion of requested values to plain Python: numbers, booleans, lines of text."""

import contextlib
import numbers
import os
import pathlib
from collections.abc import Mapping

from bsce_keras.config.checks import one_of
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import fits_line, whole_number

# Files and arrays hold counts and seeds in 64 bits.
_LARGEST = 2**63 - 1
_LINE = "one non-empty line of UTF-8 text"


def plain_values(options, values):
    """Converts values of callers, such as NumPy numbers and paths, to plain values.

    `~` is expanded in paths.

    Args:
        options: `Option`s by name.
        values: values by name of an option. None leaves the choice open.

    Returns:
        `(plain, problems)`: the values, None for each invalid one, and a sentence for
        each invalid one.
    """
    plain, problems = {}, []
    for name, value in values.items():
        option, plain[name] = options[name], None
        if value is None:
            continue
        convert, expected = _KINDS[option.type]
        plain[name] = convert(value)
        if plain[name] is None:
            received = repr(value)
            if len(received) > 80:
                received = f"{received[:60]}... ({len(received)} characters)"
            problems.append(f"{option.shown} must be {expected}. Received: {received}")
        elif option.choices and not option.field:
            # Sections of the configuration check the values of their fields.
            found = one_of(option.choices)(option.shown, plain[name])
            if found:
                # Other checks would report the value again.
                problems += found
                plain[name] = None
    return plain, problems


def _integer(value):
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return int(value) if is_integer and abs(int(value)) <= _LARGEST else None


def _number(value):
    if isinstance(value, numbers.Integral):
        return _integer(value) if _integer(value) is None else float(value)
    return float(value) if isinstance(value, numbers.Real) else None


def _truth(value):
    return value if isinstance(value, bool) else None


def _line(value):
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    return str(text) if fits_line(text) else None


def _path(value):
    line = _line(value)
    return line and os.path.expanduser(line)


def _is_list(value):
    """Returns True for lists, tuples, arrays and other values of several in order."""
    # The keys of a dictionary may have another order than its values.
    others = (str, bytes, os.PathLike, Mapping, set, frozenset)
    return hasattr(value, "__iter__") and not isinstance(value, others)


def _integers(value):
    if not _is_list(value):
        return None
    integers = [_integer(part) for part in value]
    return None if None in integers else integers


def _lines(value):
    if not _is_list(value):
        return None
    lines = [_line(part) for part in value]
    return lines if all(lines) else None


def _line_or_lines(value):
    if not _is_list(value):
        return _line(value)
    parts = [part if _integer(part) is None else str(_integer(part)) for part in value]
    return _lines(parts)


def named_values(value):
    """Returns plain values by name, read from `a=1,b=2` or from a dictionary."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        given = {name.strip(): literal(text.strip()) for name, _, text in pairs}
        if len(given) < len(pairs) or not all(equals for _, equals, _ in pairs):
            return None
    elif isinstance(value, Mapping):
        given = {name: _plain(item) for name, item in value.items()}
    else:
        return None
    is_plain = all(_line(name) for name in given) and None not in given.values()
    return given if is_plain else None


def literal(text):
    """Returns the number or truth that a text writes, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        # Python reads 1_0 as 10, and refuses to read thousands of digits.
        with contextlib.suppress(ValueError):
            return text if "_" in text else _plain(number(text))
    return _line(text)


def _plain(value):
    """Returns a plain boolean, integer, float or text; None for other values."""
    for convert in (_truth, _integer, _number, _line):
        plain = convert(value)
        if plain is not None:
            return plain
    return None


# By type of an option: function that returns the plain value, or None if it is
# invalid, and the expected value in messages.
_KINDS = {
    int: (_integer, "an integer of at most 64 bits"),
    float: (_number, "a number"),
    bool: (_truth, "true or false"),
    str: (_line, _LINE),
    pathlib.Path: (_path, _LINE),
    list[int]: (_integers, "a list of integers of at most 64 bits"),
    list[str]: (_lines, f"a list of names, each {_LINE}"),
    str | list: (_line_or_lines, f"{_LINE}, or a list of class names or ids"),
    object: (lambda value: value, ""),
    dict: (
        named_values,
        "different names with a value each, such as margin=0.5,top_k=2",
    ),
}


def below_one(values, *names):
    """Returns a sentence for each of some flags that has a number below 1."""
    numbers = {name: values[name].value for name in names}
    return [
        f"--{name} must be at least 1. Received: {number}"
        for name, number in numbers.items()
        if number is not None and number < 1
    ]


def names_of(flag, text):
    """Returns names that are separated by commas, or the lines of a file.

    Args:
        flag: flag that has the text, for messages.
        text: the names, or the path of a file.

    Raises:
        RequestError: the file cannot be read.
    """
    names = text.split(",")
    path = os.path.expanduser(text)
    if os.path.isfile(path):
        try:
            with open(path, encoding="utf-8-sig") as file:
                names = [line for line in file.read().splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise RequestError(
                f"{flag}={text} is not UTF-8 text. Save it as such, or list "
                "the names, separated by commas."
            ) from error
        except OSError as error:
            raise RequestError(
                f"{flag}={text} cannot be read: {error.strerror}. Change "
                "its permissions, or list the names, separated by commas."
            ) from error
    return tuple(name.strip() for name in names)


def seeds_of(text):
    """Reads the seeds that `--seeds` lists. Returns `(seeds, problems)`.

    >>> seeds_of("1, 2")
    ((1, 2), [])
    """
    seeds = tuple(whole_number(part.strip()) for part in text.split(","))
    if None not in seeds and len(set(seeds)) == len(seeds):
        return seeds, []
    return (), [
        "--seeds must be different whole numbers separated by commas, such as "
        f"1,2,3. Received: {text!r}"
    ]
