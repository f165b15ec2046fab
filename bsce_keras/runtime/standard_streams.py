"""Standard streams of a command, repaired where they are closed or not read."""

import contextlib
import io
import os
import sys

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def mend_standard_streams():
    """Opens closed standard streams, and makes stdout write lines that always encode.

    Without this, the next file that is opened gets the number of a closed stream, and
    libraries write their messages into it. A file or pipe would get lines of stdout
    later than those of stderr.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        errors = "replace" if sys.stdout.errors == "strict" else None
        sys.stdout.reconfigure(errors=errors, line_buffering=True)


@contextlib.contextmanager
def discarded_if_unread(stream):
    """Discards the output of a standard stream from now on if its reader has ended.

    Python would report that at every later write, and when it flushes at exit.
    """
    try:
        yield
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
