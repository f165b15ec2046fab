"""Ctrl-C and SIGTERM as requests: training saves and stops after an update."""

import contextlib
import signal
import sys

from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.standard_streams import discarded_if_unread

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Signals whose `KeyboardInterrupt` was raised since the command began.
_raised = []


@contextlib.contextmanager
def ctrl_c_handler(handler):
    """Gives Ctrl-C another handler; it gets its own back at the end.

    Threads other than the main one do not receive signals, so nothing changes there.

    Args:
        handler: as `signal.signal` takes it.
    """
    try:
        previous = signal.signal(signal.SIGINT, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def remembered_ctrl_c():
    """Remembers a Ctrl-C that a library swallows, until `StopRequests` begins.

    Libraries that catch every exception while they are imported swallow it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    with ctrl_c_handler(_remember):
        try:
            yield
        finally:
            _raised.clear()


def _remember(signum, frame):
    _raised.append(signum)
    raise KeyboardInterrupt


class Stopped(KeyboardInterrupt):
    """A run stopped on request, after a save.

    It is not an `Exception`, so that loops which go on after a failed run end too.

    Args:
        message: position of the stop, and how to go on.
        signum: number of the signal.
    """

    def __init__(self, message, signum):
        super().__init__(message)
        self.signum = signum
        self.exit_code = 128 + signum


class StopRequests:
    """Records the first Ctrl-C or SIGTERM; a second one ends the process at once.

    Use it as a context, in which signals keep their effect until `record` is called. In
    threads other than the main one, it never gets a signal. A `RunError` after a
    recorded signal becomes `Stopped` with its message.

    Attributes:
        signum: number of the signal that arrived, or None.
    """

    def __init__(self):
        self.signum = None
        self._previous = {}

    def __enter__(self):
        _raise_swallowed()
        return self

    def __exit__(self, kind, error, traceback):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if self.signum is not None and isinstance(error, RunError):
            # Commands that train several runs go on after a failure.
            raise Stopped(str(error), self.signum) from error

    def record(self):
        """Takes signals over: the first one is recorded from now on."""
        _raise_swallowed()
        for signum in _SIGNALS:
            if signum not in self._previous:
                with contextlib.suppress(ValueError):
                    self._previous[signum] = signal.signal(signum, self._note)

    def refuse(self, message):
        """Raises `Stopped` with this message if a signal was recorded."""
        if self.signum is not None:
            raise Stopped(message, self.signum)

    def _note(self, signum, frame):
        if self.signum is not None:
            # Neither is an Exception, so libraries do not handle it as a failure.
            raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(143)
        self.signum = signum
        # Ctrl-C also ends a program that reads the output, such as `tee`. A stream
        # whose write the signal interrupts refuses a second one by RuntimeError.
        with discarded_if_unread(sys.stdout), contextlib.suppress(RuntimeError):
            print(
                "\nStopping after this update or the next one, with a save. "
                "A second signal stops at once.",
                flush=True,
            )


def _raise_swallowed():
    if _raised:
        raise KeyboardInterrupt
