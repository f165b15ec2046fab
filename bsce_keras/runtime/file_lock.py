"""Locks on open files; the kernel releases the locks of dead processes."""

import contextlib
import os

from bsce_keras.runtime.errors import RequestError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None


def try_lock(file):
    """Locks an open file for this process.

    Returns:
        False if another process holds the lock, else True.

    Raises:
        RequestError: on Windows.
        OSError: names the file; some network file systems do not support locks.
    """
    refuse_without_locks()
    try:
        _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file):
    """Waits for the lock of an open file and takes it; raises as `try_lock`."""
    refuse_without_locks()
    _lock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def lock_folder(path):
    """Holds the lock of a folder, where its file system can lock folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # NFS locks only files that are open for writing.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_without_locks():
    """Refuses a system without the locks that keep a run folder whole.

    Raises:
        RequestError: on Windows.
    """
    if fcntl is None:
        raise RequestError(
            "Commands and run folders need file locks, which Windows does not have. "
            "Use Linux, or WSL 2 on Windows. The losses work without them."
        )


def _lock(file, operation):
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        # The kernel's error does not name the file.
        error.filename = file.name
        raise
