"""Images in files, read on demand: a substitute for an array of pixels.

`Examples.images` is a `StoredImages` if the data set is kept on the disk. Selecting,
sorting and concatenating take eight bytes per image. `np.asarray` reads the pixels.
"""

import errno
import os
import weakref

import numpy as np


class ImageFile:
    """File of uint8 images, one after the other.

    The file is read, not mapped. Memory holds only the requested images. A failing disk
    raises an error instead of killing the process. Removing or replacing the file does
    not disturb those who have it open. Threads may share it.

    Args:
        path: the file.
        shape: `(num_images, side, side, channels)`.
        digests: `PixelDigests` of the file, or None.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path, shape, digests=None):
        self.path = os.fspath(path)
        self.shape = tuple(shape)
        self.digests = digests
        self._descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self):
        return self.shape[0]

    def read(self, rows, images, places):
        """Reads the images at `rows` into `images[places]`.

        Raises:
            OSError: the disk fails, or the file is shorter than it was.
        """
        num_bytes = images[:1].nbytes
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            self._fill(memoryview(images[place]).cast("B"), row * num_bytes)

    def _fill(self, buffer, position):
        while buffer:
            try:
                done = os.preadv(self._descriptor, [buffer], position)
            except OSError as error:
                # The error of `preadv` lacks the file name.
                error.filename = self.path
                raise
            if not done:
                raise OSError(
                    errno.EIO, "the file was cut off while it was in use", self.path
                )
            buffer, position = buffer[done:], position + done


class StoredImages:
    """Selection of images of files and of arrays in memory, in any order.

    Indices, slices and masks along the first axis give another `StoredImages` without
    reading. A single index reads one image. `np.asarray` reads all of them.

    Args:
        sources: tuple of `ImageFile`s and uint8 arrays, all with one image shape.
        rows: int64, positions in the concatenated sources.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, sources, rows):
        self.sources = tuple(sources)
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    @property
    def shape(self):
        """Shape like that of an array: `(num_images, side, side, channels)`."""
        return (len(self), *self.sources[0].shape[1:])

    def __getitem__(self, key):
        if isinstance(key, tuple):
            raise IndexError(
                "Images on the disk have one axis to index. Read them first: "
                f"np.asarray(images)[...]. Received: {key}"
            )
        rows = self.rows[key]
        if rows.ndim:
            return StoredImages(self.sources, rows)
        return np.asarray(StoredImages(self.sources, rows[np.newaxis]))[0]

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("Images on the disk cannot be an array without a copy.")
        images = np.empty(self.shape, self.dtype)
        for source, rows, places in self._parts():
            if isinstance(source, ImageFile):
                source.read(rows, images, places)
            else:
                images[places] = source[rows]
        return images if dtype is None else images.astype(dtype, copy=False)

    @staticmethod
    def concatenate(parts):
        """Joins the images of several parts, which may be arrays."""
        views = [
            part
            if isinstance(part, StoredImages)
            else StoredImages((part,), np.arange(len(part)))
            for part in parts
        ]
        sources, starts, all_rows, end = [], {}, [], 0
        for view in views:
            moved = np.empty(len(view), np.int64)
            for source, rows, places in view._parts():
                if id(source) not in starts:
                    sources.append(source)
                    starts[id(source)] = end
                    end += len(source)
                moved[places] = starts[id(source)] + rows
            all_rows.append(moved)
        # Empty parts still define the image shape.
        return StoredImages(sources or views[0].sources, np.concatenate(all_rows))

    def _parts(self):
        """Yields `(source, its rows, their places here)` for every source in use."""
        start = 0
        for source in self.sources:
            rows = self.rows - start
            places = np.flatnonzero((rows >= 0) & (rows < len(source)))
            if len(places):
                yield source, rows[places], places
            start += len(source)


def concatenated(parts):
    """Joins arrays and `StoredImages`; gives an array if all of them are arrays."""
    if any(isinstance(part, StoredImages) for part in parts):
        return StoredImages.concatenate(parts)
    return np.concatenate(parts)


def blocks(images, size=256):
    """Yields the images as arrays of at most `size`."""
    for start in range(0, len(images), size):
        yield np.asarray(images[start : start + size])
