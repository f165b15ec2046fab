"""One checkpoint on the disk: written and verified, read back or found damaged.

A checkpoint at PATH is PATH.npz, the arrays, and PATH.json, its manifest. The manifest
holds the state, the checkpoint's own name, its origin, the SHA-256 of the arrays and
the SHA-256 of all that. It is written after the arrays: without it there is no
checkpoint.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import pathlib
import zipfile
import zlib

import numpy as np

from bsce_keras.runtime.files import read_json, sha256, write_atomically, write_json

# What parsing damaged files raises.
_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
# What the file system says of a file that is lost. Any other refusal, such as missing
# permission, says nothing of the file.
_LOST = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EIO,
    errno.EINVAL,  # a place before the beginning of a file
    None,
}


class DamagedError(Exception):
    """A checkpoint that cannot be used; the message says what is wrong with it."""


def write(path, arrays, state, origin=None):
    """Writes a checkpoint and reads it back, to be sure of it.

    Args:
        path: of the checkpoint, without an ending.
        arrays: named arrays, none of objects.
        state: JSON value.
        origin: JSON value that says where the checkpoint belongs, see `read_origin`.

    Raises:
        OSError: the disk is full or read-only, or does not hold what was written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
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
        message = f"what was just written to it does not come back: {error}"
        raise OSError(errno.EIO, message, str(path)) from error


def read(path, names=None):
    """Reads a checkpoint whose checksums hold.

    Args:
        path: of the checkpoint, without an ending.
        names: of the arrays that are wanted; all of them by default.

    Returns:
        `(arrays, state)`.

    Raises:
        DamagedError: files that are missing, cut off, altered or of another checkpoint.
        OSError: they may be whole but cannot be read, for want of permission, say.
    """
    manifest = _verified_manifest(path)
    with (
        _damage_of("its arrays"),
        np.load(f"{path}.npz", allow_pickle=False) as file,
    ):
        wanted = file.files if names is None else names
        return {name: file[name] for name in wanted}, manifest["state"]


def read_origin(path):
    """Reads the manifest of a checkpoint, and not its arrays.

    Args:
        path: of the checkpoint, without an ending.

    Returns:
        `(origin, checksum)`: the origin that `write` was given, and the SHA-256 that
        the manifest gives for itself.

    Raises:
        DamagedError: the manifest is missing, cut off, altered or of another name.
        OSError: as `read`.
    """
    manifest, checksum = _manifest(path)
    return manifest.get("origin"), checksum


def remove(path):
    """Removes a checkpoint, or what is left of one."""
    # The manifest goes first: without it the checkpoint does not exist.
    for ending in (".json", ".json.tmp", ".npz", ".npz.tmp"):
        pathlib.Path(f"{path}{ending}").unlink(missing_ok=True)


def _verified_manifest(path):
    """The manifest, once it agrees with itself, its name and the arrays' file."""
    manifest, _ = _manifest(path)
    with _damage_of("its arrays"):
        if sha256(f"{path}.npz") != manifest["arrays_sha256"]:
            raise DamagedError("its arrays are not those its manifest was written for")
    return manifest


def _manifest(path):
    """The manifest and its checksum, once it agrees with itself and its name."""
    if not os.path.lexists(f"{path}.json"):
        raise DamagedError("no manifest: its save was cut short, or the file is lost")
    with _damage_of("its manifest"):
        manifest = dict(read_json(f"{path}.json"))
        expected = manifest.pop("sha256")
        if _sha256_of_json(manifest) != expected:
            raise DamagedError("its manifest was altered")
        if manifest["checkpoint"] != os.path.basename(path):
            raise DamagedError(f"its manifest is that of {manifest['checkpoint']}")
    return manifest, expected


@contextlib.contextmanager
def _damage_of(part):
    """Turns what reading a damaged file raises into a `DamagedError`."""
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
    """A list of arrays as named arrays."""
    return {f"{prefix}/{i:04d}": np.asarray(value) for i, value in enumerate(values)}


def unpack(prefix, arrays):
    """The list that `pack` was given."""
    names = sorted(name for name in arrays if name.startswith(f"{prefix}/"))
    return [arrays[name] for name in names]
