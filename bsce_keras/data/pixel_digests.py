"""SHA-256 of the pixels of images, stored beside images in files."""

import contextlib
import hashlib
import itertools
import re

import numpy as np

from bsce_keras.data.stored_images import StoredImages, blocks
from bsce_keras.runtime.files import refuse_link


class PixelDigests:
    """SHA-256 of the pixels of sets of images of a file, stored beside it.

    Each line has the SHA-256 of the positions of the images and that of their pixels.
    Lines that a crash or a full disk cut off are ignored.
    """

    _LINE = re.compile("([0-9a-f]{64}) ([0-9a-f]{64})")

    def __init__(self, path):
        self._path = path
        self._known = {}
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            lines = file.read().decode("ascii", "replace").splitlines()
            matches = filter(None, map(self._LINE.fullmatch, lines))
            self._known = dict(match.groups() for match in matches)

    def get(self, rows):
        """Returns the digest of the images at `rows`, or None."""
        return self._known.get(self._key(rows))

    def add(self, rows, digest):
        """Stores a digest. If the disk fails, the next run computes it again."""
        key = self._key(rows)
        self._known[key] = digest
        with (
            contextlib.suppress(OSError),
            open(self._path, "a", encoding="ascii", opener=refuse_link) as file,
        ):
            file.write(f"{key} {digest}\n")

    @staticmethod
    def _key(rows):
        return hashlib.sha256(np.ascontiguousarray(rows, "<i8")).hexdigest()


class ClassDigests:
    """SHA-256 of the pixels of every class, updated image by image."""

    def __init__(self):
        self._by_label = {}

    def update(self, labels, images):
        for label in np.unique(labels).tolist():
            digest = self._by_label.setdefault(label, hashlib.sha256())
            digest.update(np.ascontiguousarray(images[labels == label]))

    def by_label(self):
        """Returns hexadecimal digests by label. Labels are text, as in JSON."""
        return {
            str(label): digest.hexdigest()
            for label, digest in sorted(self._by_label.items())
        }


def range_digests(images, ends):
    """Returns the `pixel_sha256` of every range `[ends[i], ends[i + 1])` of images."""
    return [pixel_sha256(images[first:end]) for first, end in itertools.pairwise(ends)]


def pixel_sha256(images):
    """Hexadecimal SHA-256 of all pixels; computed once if the file stores digests."""
    if isinstance(images, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    digests = None
    if isinstance(images, StoredImages) and len(images.sources) == 1:
        digests = getattr(images.sources[0], "digests", None)
    found = digests and digests.get(images.rows)
    if found:
        return found
    digest = hashlib.sha256()
    for block in blocks(images):
        digest.update(np.ascontiguousarray(block))
    if digests:
        digests.add(images.rows, digest.hexdigest())
    return digest.hexdigest()
