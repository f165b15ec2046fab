"""Files that are either whole or not there, and checksums that prove it."""

import contextlib
import errno
import hashlib
import json
import os

from bsce_keras.runtime.errors import RequestError


def write_atomically(path, data):
    """Writes bytes or text to `path` so that a crash leaves the old file or the new.

    The data goes to a new file of a temporary name beside it, reaches the disk, and is
    renamed. A link of either name is replaced, and its target stays as it is.

    Args:
        path: the file; its folder is there.
        data: bytes, anything that shows its bytes, or text.

    Raises:
        OSError: naming `path`; what was half written is removed again, and the old
            file stays.
    """
    if isinstance(data, str):
        data = data.encode("utf-8")
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
        # A full disk needs the room, and nobody else looks for the file.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # A failed write or sync does not say of which file.
            error.filename = str(path)
        raise
    sync_folder(os.path.dirname(path) or ".")


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
    """`write_atomically` for a JSON value; NaN is refused, None stands for it."""
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path):
    """The JSON value of a file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def make_folder(path):
    """Makes a folder and those above it, so that they outlast a power failure."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    make_folder(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError:
        # Another process was faster; a file of that name is another matter.
        if not os.path.isdir(path):
            raise
    sync_folder(os.path.dirname(path))


def sync_folder(path):
    """Makes renames inside a folder durable, where its file system can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder, and say so in this way.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def sha256(path):
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
