"""The two ways a command can fail; the exit code tells them apart."""


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
