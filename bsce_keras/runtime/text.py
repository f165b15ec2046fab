"""Text for messages and tables: durations, lists of names, similar names."""

import difflib
import math
import re
import unicodedata

# Control characters, line separators, and surrogates of bytes that are not UTF-8. A
# line of a flagfile or a table cannot contain them.
_NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def fits_line(value):
    """Returns True for a text, not empty, that a line may contain."""
    return isinstance(value, str) and bool(value) and not _NO_LINE.search(value)


def is_line(name):
    """Returns True if a line may contain the text, without outer spaces.

    >>> is_line("red fox"), is_line(" fox"), is_line("")
    (True, False, False)
    """
    return fits_line(name) and name == name.strip()


# Characters that a terminal acts on: control characters, line and paragraph separators,
# and marks of the direction of writing.
_ACTING = "\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[{_ACTING}]")
_NOT_UTF8 = re.compile(f"[{_ACTING}\ud800-\udfff]")


def one_line(text):
    r"""Returns text with escapes such as `\n` for characters that a terminal acts on.

    Bytes of file names that are not UTF-8 stay unchanged.
    """
    return _UNPRINTABLE.sub(_escape, str(text))


def printable(text):
    r"""Returns `one_line` with escapes such as `\xe9` for bytes that are not UTF-8."""
    return _NOT_UTF8.sub(_escape, str(text))


def _escape(match):
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # A byte that is not UTF-8, see `os.fsdecode`.
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def width(line):
    r"""Returns the number of columns of a terminal that a line of text takes.

    >>> width("ant"), width("\u8c61"), width("e\u0301")
    (3, 2, 1)
    """
    return sum(map(_letter_width, line))


def _letter_width(letter):
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0  # It joins the letter before.
    is_wide = unicodedata.east_asian_width(letter) in ("W", "F")
    return 2 if is_wide else 1


# Text for an undefined number.
UNDEFINED = "-"


def duration(seconds):
    """Formats seconds as minutes and seconds, or hours, minutes and seconds.

    >>> duration(80), duration(3680)
    ('1:20', '1:01:20')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    )


def whole_number(text):
    """Returns the number of at most 20 decimal digits; None for any other text."""
    # `int` raises ValueError for thousands of digits.
    return int(text) if text.isdecimal() and len(text) <= 20 else None


def counted(number, noun):
    """Returns a number with its noun.

    >>> counted(1, "core"), counted(2, "core")
    ('1 core', '2 cores')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(fraction):
    """Formats a fraction in percent with two decimals; "-" for None and NaN.

    A negative fraction that rounds to 0 has no sign.

    >>> percent(0.12345), percent(-1e-9), percent(None)
    ('12.35', '0.00', '-')
    """
    if fraction is None or math.isnan(fraction):
        return UNDEFINED
    return f"{100 * fraction:z.2f}"


def did_you_mean(received, known, prefix=""):
    """Returns `" Did you mean A or B?"` with the nearest known names, or `""`.

    If the spelling of none is near, names with the received word are offered.

    >>> did_you_mean("loss", ["alpha", "classification_loss"])
    ' Did you mean classification_loss?'
    """
    text = str(received).lower()
    near = difflib.get_close_matches(text, list(known), n=3)
    near = near or [name for name in known if text in name.split("_")][:3]
    names = " or ".join(f"{prefix}{name}" for name in near)
    return f" Did you mean {names}?" if near else ""


def listed(names, most=10):
    """Returns `"a, b, c"`; longer lists are cut to `most` names and a number."""
    names = list(names)
    first = ", ".join(names[:most])
    more = len(names) - most
    return f"{first} and {more} more" if more > 0 else first
