"""The two ways a command can fail; the exit code tells them apart."""

import difflib


class RequestError(ValueError):
    """The request is wrong: nothing was written, exit code 2.

    Args:
        problems: one sentence or a list of them, each naming what was expected,
            what was received and the way out.
    """

    def __init__(self, problems):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(RuntimeError):
    """A correct request failed while running: what was finished stays, exit code 1."""


class DivergedError(RunError):
    """A loss or gradient is not finite: the settings may be to blame."""


def did_you_mean(received, known, prefix=""):
    """`" Did you mean A or B?"` with the nearest of the known names, or `""`."""
    near = difflib.get_close_matches(str(received).lower(), list(known), n=3)
    names = " or ".join(f"{prefix}{name}" for name in near)
    return f" Did you mean {names}?" if near else ""


def listed(names, most=10):
    """`"a, b, c"`, of many names the first `most` and how many more there are."""
    names = list(names)
    first = ", ".join(names[:most])
    more = len(names) - most
    return f"{first} and {more} more" if more > 0 else first
