"""Files that are complete or missing, and checksums that verify them."""

import contextlib
import errno
import hashlib
import json
import math
import os
import stat

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.file_lock import lock_folder


def write_atomically(path, data):
    """Writes bytes or text to `path`; a crash leaves the old file or the new one.

    The data is written to a new temporary file in the same folder, synced to the disk
    and renamed. Symbolic links of either name are replaced, and not followed. Writers
    of one folder take turns, because the temporary file has one name.

    Args:
        path: path of the file, in an existing folder.
        data: bytes, an object with a buffer, or text.

    Raises:
        OSError: names `path`. The temporary file is removed and the old file stays.
    """
    if isinstance(data, str):
        data = data.encode("utf-8")
    folder = os.path.dirname(path) or "."
    with lock_folder(folder):
        _replace(path, data)
        sync_folder(folder)


def _replace(path, data):
    temporary = f"{path}.tmp"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        # "x" creates the file, and never opens one that a link leads to.
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        # Free the space on a full disk: the temporary file is not used later.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # Errors of write and sync do not name the file.
            error.filename = str(path)
        raise


def refuse_link(path, flags):
    """Opener for `open` that does not follow a symbolic link.

    Raises:
        RequestError: if the last part of `path` is a symbolic link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise RequestError(
            f"{path} is a symbolic link, which would be written through. Remove it."
        ) from error


def write_json(path, value):
    """Writes a JSON value atomically; refuses NaN, use None instead."""
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_regular(path):
    """Opens a file to read its bytes.

    Raises:
        OSError: also for pipes, devices and folders, and links to them, because reading
            them may never end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(path, "rb")


def read_json(path):
    """Returns the JSON value of a file; refuses what `write_json` does not write.

    Raises:
        ValueError: the file is not JSON, or a number is not finite.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        text = file.read().decode("utf-8")
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def make_folder(path):
    """Makes a folder and its parents, and syncs them to the disk."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    make_folder(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError:
        # Another process may have made the folder; a file of this name is an error.
        if not os.path.isdir(path):
            raise
    sync_folder(os.path.dirname(path))


def sync_folder(path):
    """Makes renames inside a folder durable, if the file system supports it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder and raise these errors.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def sha256(path):
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
