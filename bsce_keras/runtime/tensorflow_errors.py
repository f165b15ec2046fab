"""What TensorFlow says of a full or read-only disk, as the OSError that it is."""

import contextlib
import errno
import os

import tensorflow as tf

# TensorFlow keeps the system's words and drops its number.
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
    """Around TensorFlow operations that write to `path` and do nothing else.

    Raises:
        OSError: naming `path`, for an error of TensorFlow's.
    """
    try:
        yield
    except tf.errors.OpError as error:
        for number in _REASONS:
            if os.strerror(number) in error.message:
                raise OSError(number, os.strerror(number), path) from error
        reason = error.message.strip().splitlines()[0]
        raise OSError(errno.EIO, reason, path) from error
