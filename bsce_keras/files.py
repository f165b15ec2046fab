"""Files that are either whole or not there, and checksums that prove it."""

import hashlib
import json
import os


def write_atomically(path, data):
    """Writes bytes or text to `path` so that a crash leaves the old file or the new.

    The data goes to a temporary name beside it, reaches the disk, and is renamed.
    """
    if isinstance(data, str):
        data = data.encode("utf-8")
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


def write_json(path, value):
    """`write_atomically` for a JSON value; NaN is refused, None stands for it."""
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path):
    """The JSON value of a file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def sync_folder(path):
    """Makes renames inside a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path):
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
