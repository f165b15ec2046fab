"""Errors of commands; the exit code tells the two kinds apart."""


class RequestError(ValueError):
    """Invalid request, refused before anything is written; exit code 2.

    Args:
        problems: one message or a list of messages. Each names the expected value, the
            received value and a solution.
    """

    def __init__(self, problems):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(RuntimeError):
    """Failure of a valid request while running; finished steps stay; exit code 1."""


class DivergedError(RunError):
    """Failure because a loss or gradient is not finite; settings may be the cause."""


def refuse(problems):
    """Raises a `RequestError` if there are problems."""
    problems = list(problems)
    if problems:
        raise RequestError(problems)


class Problems(list):
    """List of the problems found so far, a sentence each."""

    def attempt(self, make, *args, **kwargs):
        """Returns `make(...)`, or None after noting its problems."""
        try:
            return make(*args, **kwargs)
        except RequestError as error:
            self.extend(error.problems)
            return None


def problems_of(function, *args):
    """Returns the problems that a function refuses its arguments for."""
    problems = Problems()
    problems.attempt(function, *args)
    return problems
