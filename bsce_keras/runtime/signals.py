"""Ctrl-C and SIGTERM as requests: training ends at the next update, with a save."""

import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A run ended early because it was asked to, and saved what it had.

    Args:
        message: where it stopped and how to go on.
        signum: the signal that asked.
    """

    def __init__(self, message, signum):
        super().__init__(message)
        self.exit_code = 128 + signum


class StopRequests:
    """Takes note of the first Ctrl-C or SIGTERM; a second one acts at once.

    Used as a context. Outside the main thread, where Python delivers no signals, it
    only never sees one.

    Attributes:
        signum: the signal that arrived, or None.
    """

    def __init__(self):
        self.signum = None
        self._previous = {}

    def __enter__(self):
        for signum in _SIGNALS:
            try:
                self._previous[signum] = signal.signal(signum, self._note)
            except ValueError:
                break
        return self

    def __exit__(self, *_):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _note(self, signum, frame):
        if self.signum is not None:
            # Neither is an Exception: no library on the way takes it for a failure.
            raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(143)
        self.signum = signum
        print(
            "\nStopping once the update in hand, or the next one, is done and saved. "
            "Once more stops at once.",
            flush=True,
        )
