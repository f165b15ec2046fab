"""Locks on open files; the kernel releases the locks of dead processes."""

import fcntl


def try_lock(file):
    """Locks an open file for this process.

    Returns:
        False if another process holds the lock, else True.

    Raises:
        OSError: names the file; some network file systems do not support locks.
    """
    try:
        _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file):
    """Waits for the lock of an open file and takes it; raises as `try_lock`."""
    _lock(file, fcntl.LOCK_EX)


def _lock(file, operation):
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        # The kernel's error does not name the file.
        error.filename = file.name
        raise
