"""Conversion of TensorFlow's errors of disk and memory to Python's."""

import contextlib
import errno
import os

import tensorflow as tf

# TensorFlow keeps the system's message but not its error number.
_REASONS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EFBIG,
    errno.EIO,
)


@contextlib.contextmanager
def as_os_errors(path):
    """Converts errors of TensorFlow operations that only write to `path`.

    Raises:
        OSError: names `path`; replaces an error of TensorFlow.
    """
    try:
        yield
    except tf.errors.OpError as error:
        for number in _REASONS:
            if os.strerror(number) in error.message:
                raise OSError(number, os.strerror(number), path) from error
        reason = error.message.strip().splitlines()[0]
        raise OSError(errno.EIO, reason, path) from error


@contextlib.contextmanager
def as_memory_errors():
    """Converts TensorFlow's errors of exhausted memory.

    Raises:
        MemoryError: replaces a `ResourceExhaustedError` of TensorFlow.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(error.message.strip().splitlines()[0]) from error
