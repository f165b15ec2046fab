"""Cache of decoded images in a folder: later runs read them instead of decoding again.

A split of a data set has these files:

    NAME.uint8             the squares, one after the other
    NAME.npz, NAME.json    keys, labels and fingerprint; written last, with checksums
    NAME.sha256            digests of classes; they spare later runs reading all pixels

A split being decoded is called NAME.partial and saved every gigabyte. A killed process
loses at most a gigabyte of work. NAME ends in a digest of the fingerprint, so other
source files give another name.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil

import numpy as np

from bsce_keras.data.pixel_digests import ClassDigests, PixelDigests
from bsce_keras.data.splits import Decoded, joined
from bsce_keras.data.stored_images import ImageFile, StoredImages, blocks
from bsce_keras.runtime import array_files
from bsce_keras.runtime.array_files import DamagedError
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.file_lock import try_lock, wait_for_lock
from bsce_keras.runtime.files import make_folder, refuse_link, sync_folder

_log = logging.getLogger(__name__)

_FORMAT = 1
# Bytes decoded between two saves.
_SAVE_BYTES = 2**30


def load_or_decode(cache_dir, splits):
    """Returns splits from a cache; decodes missing ones into it.

    Args:
        cache_dir: folder, made if it is missing.
        splits: list of `Split`s, each of at least one image.

    Returns:
        List of `Decoded` with `StoredImages`.

    Raises:
        RequestError: the disk has too little room; raised before decoding.
        OSError: the disk fails, or its file system does not support locks.
    """
    cache_dir = os.path.expanduser(cache_dir)
    entries = [_Entry(cache_dir, split) for split in splits]
    found = [entry.load() for entry in entries]
    missing = [
        entry for entry, decoded in zip(entries, found, strict=True) if decoded is None
    ]
    if missing:
        make_folder(cache_dir)
        _refuse_too_little_room(cache_dir, missing)
    return [
        decoded or entry.decode() for entry, decoded in zip(entries, found, strict=True)
    ]


class _Entry:
    """Files of a split in the cache."""

    def __init__(self, cache_dir, split):
        self._of = split.of()
        text = json.dumps(self._of, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        size = "x".join(map(str, split.image_shape))
        title = re.sub(r"[^\w.-]+", "-", split.title)
        self._split = split
        self._path = os.path.join(cache_dir, f"{title}_{size}_{digest}")
        self._partial = f"{self._path}.partial"

    @property
    def missing_bytes(self):
        """Largest number of bytes that decoding adds to the existing files."""
        there = sum(
            os.path.getsize(f"{path}.uint8")
            for path in (self._path, self._partial)
            if os.path.isfile(f"{path}.uint8")
        )
        return max(0, self._split.num_images * self._split.image_bytes - there)

    def load(self, is_locked=False):
        """Returns the `Decoded` split, or None if it is missing or damaged.

        Returns None without the lock if all pixels have to be checked, because only one
        process does that.
        """
        arrays, state = self._read(self._path)
        if state is None:
            return None
        pixels = f"{self._path}.uint8"
        num_images = len(arrays["keys"])
        try:
            status = os.stat(pixels)
        except FileNotFoundError:
            return self._damaged("its pixels are missing")
        if status.st_size != num_images * self._split.image_bytes:
            return self._damaged("the size of its pixel file is wrong")
        if status.st_mtime_ns != state["modified_ns"]:
            # The file was copied or altered. Only its pixels show which.
            if not is_locked:
                return None
            digests = self._class_digests(pixels, arrays["labels"])
            if digests is None or digests.by_label() != state["class_sha256"]:
                return self._damaged("its pixels differ from the decoded ones")
            state = {**state, "modified_ns": status.st_mtime_ns}
            array_files.write(self._path, arrays, state)
        file = ImageFile(
            pixels,
            (num_images, *self._split.image_shape),
            PixelDigests(f"{self._path}.sha256"),
        )
        images = StoredImages((file,), np.arange(num_images))
        return Decoded(images, arrays["keys"], arrays["labels"], state["bad"])

    def decode(self):
        """Decodes the missing images and returns the whole split.

        Waits for another process that decodes the same split.
        """
        with self._lock():
            return self.load(is_locked=True) or self._decode()

    def _decode(self):
        # Remove the descriptions first: the pixels are about to change.
        array_files.remove(self._path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._path}.sha256")
        with contextlib.suppress(FileNotFoundError):
            if os.path.exists(f"{self._partial}.json"):
                # A process was killed after it had renamed the pixels.
                os.replace(f"{self._path}.uint8", f"{self._partial}.uint8")
            else:
                # Unlink instead of overwriting: another process may read the file.
                os.unlink(f"{self._path}.uint8")
        keys, labels, digests = self._begun()
        self._say_what_is_done(len(keys))
        try:
            keys, labels = self._decode_rest(keys, labels, digests)
        except OSError as error:
            # The error of a failed write or sync lacks the file name.
            error.filename = error.filename or f"{self._partial}.uint8"
            raise
        os.replace(f"{self._partial}.uint8", f"{self._path}.uint8")
        sync_folder(os.path.dirname(self._path))
        self._keep_digests(keys, labels, digests)
        self._save(self._path, keys, labels, digests, self._split.bad(keys))
        array_files.remove(self._partial)
        return self.load()

    def _keep_digests(self, keys, labels, digests):
        """Stores the digests of classes whose images lie in the order of their keys."""
        known = PixelDigests(f"{self._path}.sha256")
        order = np.argsort(keys, kind="stable")
        for label, digest in digests.by_label().items():
            rows = order[labels[order] == int(label)]
            if np.all(np.diff(rows) > 0):
                known.add(rows, digest)

    def _decode_rest(self, keys, labels, digests):
        """Decodes the remaining images to the disk; returns all keys and labels."""
        all_keys, all_labels, unsaved = [keys], [labels], 0
        with open(f"{self._partial}.uint8", "ab", opener=refuse_link) as file:
            file.truncate(len(keys) * self._split.image_bytes)

            def save():
                file.flush()
                os.fsync(file.fileno())
                all_keys[:] = [joined(all_keys)]
                all_labels[:] = [joined(all_labels)]
                self._save(self._partial, all_keys[0], all_labels[0], digests)

            for new_keys, new_labels, images in self._split.batches(keys):
                file.write(np.ascontiguousarray(images))
                digests.update(new_labels, images)
                all_keys.append(_without_objects(new_keys))
                all_labels.append(new_labels)
                unsaved += images.nbytes
                if unsaved >= _SAVE_BYTES:
                    save()
                    unsaved = 0
            save()
        return all_keys[0], all_labels[0]

    def _save(self, path, keys, labels, digests, bad=None):
        state = {
            "format": _FORMAT,
            "of": self._of,
            "image_shape": list(self._split.image_shape),
            "num_images": len(keys),
            "class_sha256": digests.by_label(),
            "modified_ns": os.stat(f"{path}.uint8").st_mtime_ns,
            "bad": bad,
        }
        array_files.write(path, {"keys": keys, "labels": labels}, state)

    def _begun(self):
        """Keys, labels and `ClassDigests` of the intact images of a killed process."""
        arrays, state = self._read(self._partial)
        if state is not None:
            digests = self._class_digests(f"{self._partial}.uint8", arrays["labels"])
            if digests and digests.by_label() == state["class_sha256"]:
                return arrays["keys"], arrays["labels"], digests
        return np.zeros(0, np.int64), np.zeros(0, np.int64), ClassDigests()

    def _class_digests(self, pixels, labels):
        """`ClassDigests` of the first images of a file; None if it cannot be read."""
        digests = ClassDigests()
        try:
            file = ImageFile(pixels, (len(labels), *self._split.image_shape))
            start = 0
            for images in blocks(StoredImages((file,), np.arange(len(labels)))):
                end = start + len(images)
                digests.update(labels[start:end], images)
                start = end
        except OSError:
            return None
        return digests

    def _read(self, path):
        """Arrays and state at a path; `(None, None)` if they are missing or damaged."""
        if not os.path.lexists(f"{path}.json"):
            return None, None
        try:
            arrays, state = array_files.read(path)
            if state["format"] == _FORMAT and state["of"] == self._of:
                return arrays, state
            self._damaged("its format or its images are others")
        except (DamagedError, LookupError, TypeError) as error:
            self._damaged(error)
        return None, None

    def _damaged(self, reason):
        _log.warning("%s is damaged: %s. Decoding it again.", self._path, reason)

    @contextlib.contextmanager
    def _lock(self):
        """Holds the lock of the entry."""
        path = f"{self._path}.lock"
        with open(path, "a", encoding="utf-8", opener=refuse_link) as file:
            if not try_lock(file):
                print(
                    f"Another process is decoding {self._split.title}; waiting for it",
                    flush=True,
                )
                wait_for_lock(file)
            yield

    def _say_what_is_done(self, num_done):
        number = f"{self._split.num_images:,} images of {self._split.title}"
        done = f" ({num_done:,} already decoded)" if num_done else ""
        print(f"Decoding up to {number}{done} into {self._path}.uint8", flush=True)


def _without_objects(keys):
    """Converts keys of TensorFlow strings, which are objects, to bytes for a file."""
    return keys.astype(bytes) if keys.dtype == object else keys


def _refuse_too_little_room(cache_dir, entries):
    needed = sum(entry.missing_bytes for entry in entries)
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        raise RequestError(
            f"--cache_dir={cache_dir} needs room for the decoded images: "
            f"{gigabytes(needed)} more. Its disk has {gigabytes(free)} left. Free "
            "some, or name a folder on a larger disk."
        )


def gigabytes(num_bytes):
    """Formats a number of bytes in GB."""
    return f"{num_bytes / 1e9:,.3f} GB"
