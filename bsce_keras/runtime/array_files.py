"""Checkpoint files: written and verified, read back or found damaged.

A checkpoint at PATH consists of PATH.npz, the arrays, and PATH.json, its manifest. The
manifest holds the state, the checkpoint's name, its origin, the SHA-256 of the arrays
and the SHA-256 of the manifest's other entries. It is written after the arrays. Without
a manifest, the checkpoint does not exist.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import pathlib
import tokenize
import zipfile
import zlib

import numpy as np

from bsce_keras.runtime.files import read_json, sha256, write_atomically, write_json

# Errors that parsing damaged files raises.
_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy reads headers as Python text. It raises TypeError for an unknown version.
_BAD_HEADER = (SyntaxError, TypeError, OverflowError, tokenize.TokenError)
# Error numbers of lost files. Other errors, such as missing permission, do not show
# that the file is damaged.
_LOST = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EIO,
    errno.EINVAL,  # a position before the beginning of a file
    None,
}


class DamagedError(Exception):
    """Checkpoint that cannot be used; the message gives the reason."""


def write(path, arrays, state, origin=None):
    """Writes a checkpoint and verifies it by reading it back.

    Args:
        path: path of the checkpoint, without suffix.
        arrays: named arrays, not of Python objects.
        state: JSON value.
        origin: JSON value that says where the checkpoint belongs, see `read_origin`.

    Raises:
        OSError: the disk is full or read-only, or returns other data than written.
        MemoryError: nothing is written then.
    """
    buffer = _npz(arrays)
    manifest = {
        "checkpoint": os.path.basename(path),
        "state": state,
        "origin": origin,
        "arrays_sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(),
    }
    manifest["sha256"] = _sha256_of_json(manifest)
    write_atomically(f"{path}.npz", buffer.getbuffer())
    write_json(f"{path}.json", manifest)
    try:
        _verified_manifest(path)
    except DamagedError as error:
        message = f"the checkpoint just written cannot be read back: {error}"
        raise OSError(errno.EIO, message, str(path)) from error


def _npz(arrays):
    """Returns named arrays as a buffer in the format of `numpy.savez`."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"`{name}` is an array of objects, which is not written.")
    buffer = io.BytesIO()
    try:
        # Before 2.1, NumPy took `allow_pickle=False` for one more array.
        np.savez(buffer, **arrays)
    except ValueError as error:
        # A buffer that cannot grow is closed, which zipfile then fails to use.
        if buffer.closed:
            raise MemoryError from error
        raise
    return buffer


def read(path, prefix=""):
    """Reads a checkpoint and verifies its checksums.

    Args:
        path: path of the checkpoint, without suffix.
        prefix: only arrays whose names begin with it are read.

    Returns:
        `(arrays, state)`.

    Raises:
        DamagedError: files are missing, truncated, altered or of another checkpoint.
        OSError: files cannot be read but may be undamaged, such as without permission.
    """
    manifest = _verified_manifest(path)
    with (
        damage_of("its arrays"),
        np.load(f"{path}.npz", allow_pickle=False) as file,
    ):
        wanted = [name for name in file.files if name.startswith(prefix)]
        return {name: file[name] for name in wanted}, manifest["state"]


def read_origin(path):
    """Reads the origin of a checkpoint from its manifest.

    Args:
        path: path of the checkpoint, without suffix.

    Returns:
        `(origin, checksum)`: the origin that `write` was given, and the SHA-256 that
        the manifest gives for itself.

    Raises:
        DamagedError: the manifest is missing, cut off, altered or of another name.
        OSError: as `read`.
    """
    manifest, checksum = _manifest(path)
    return manifest.get("origin"), checksum


def read_array(path):
    """Reads the array of a `.npy` file, not of Python objects.

    Memory is allocated only after a check that header and length of the file agree.

    Raises:
        ValueError: the file is not a complete array.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        read_header = _HEADERS.get(np.lib.format.read_magic(file))
        try:
            shape, _, dtype = read_header(file)
        except _BAD_HEADER as error:
            raise ValueError("not an array of numbers") from error
        num_bytes = math.prod(shape) * dtype.itemsize
        length = os.fstat(file.fileno()).st_size - file.tell()
        if dtype.hasobject or num_bytes != length:
            raise ValueError("not a complete array of numbers")
        file.seek(0)
        return np.load(file, allow_pickle=False)


def remove(path):
    """Removes a checkpoint, or the rest of one."""
    # The manifest goes first: without it the checkpoint does not exist.
    for ending in (".json", ".json.tmp", ".npz", ".npz.tmp"):
        pathlib.Path(f"{path}{ending}").unlink(missing_ok=True)


def _verified_manifest(path):
    """Returns the manifest after checking it, its name and the arrays' file."""
    manifest, _ = _manifest(path)
    with damage_of("its arrays"):
        if sha256(f"{path}.npz") != manifest["arrays_sha256"]:
            raise DamagedError("its arrays do not match its manifest")
    return manifest


def _manifest(path):
    """Returns the manifest and its checksum after checking it and its name."""
    if not os.path.lexists(f"{path}.json"):
        raise DamagedError(
            "its manifest is missing: the save was interrupted, or the file is lost"
        )
    with damage_of("its manifest"):
        manifest = dict(read_json(f"{path}.json"))
        expected = manifest.pop("sha256")
        if _sha256_of_json(manifest) != expected:
            raise DamagedError("its manifest was altered")
        if manifest["checkpoint"] != os.path.basename(path):
            raise DamagedError(f"its manifest belongs to {manifest['checkpoint']}")
    return manifest, expected


@contextlib.contextmanager
def damage_of(part):
    """Turns errors from reading a damaged file into a `DamagedError`.

    Args:
        part: name of the damaged part in the message, such as "its arrays".
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _LOST:
            raise
        reason = error.strerror or error
        raise DamagedError(f"{part} cannot be read: {reason}") from error
    except _DAMAGE as error:
        raise DamagedError(f"{part} cannot be read: {error}") from error


def _sha256_of_json(value):
    canonical = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def pack(prefix, values):
    """Returns a list of arrays as named arrays."""
    return {f"{prefix}/{i:04d}": np.asarray(value) for i, value in enumerate(values)}


def unpack(prefix, arrays):
    """Returns the list that `pack` was given."""
    names = sorted(name for name in arrays if name.startswith(f"{prefix}/"))
    return [arrays[name] for name in names]
