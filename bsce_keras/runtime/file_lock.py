"""Locks on open files; the kernel releases those of a process that died."""

import fcntl


def try_lock(file):
    """Locks an open file for this process.

    Returns:
        False if another process holds the lock, else True.

    Raises:
        OSError: naming the file; some network file systems have no locks.
    """
    try:
        _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file):
    """Locks an open file once no other process holds the lock; raises as `try_lock`."""
    _lock(file, fcntl.LOCK_EX)


def _lock(file, operation):
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        # The kernel does not say where.
        error.filename = file.name
        raise
