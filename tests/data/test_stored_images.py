"""Images on the disk behave like an array and are read only on demand."""

import hashlib
import os

import numpy as np
import pytest

from bsce_keras.data.examples import Examples
from bsce_keras.data.pixel_digests import pixel_sha256
from bsce_keras.data.stored_images import ImageFile, StoredImages

SIZE = 12


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (SIZE, 3, 3, 2), np.uint8)


@pytest.fixture
def stored(pixels, tmp_path):
    pixels.tofile(tmp_path / "images")
    file = ImageFile(tmp_path / "images", pixels.shape)
    return StoredImages((file,), np.arange(SIZE))


@pytest.fixture
def reads(monkeypatch):
    """List of the number of bytes requested by each read of the disk."""
    asked, read = [], os.preadv

    def counted(descriptor, buffers, position):
        asked.extend(len(buffer) for buffer in buffers)
        return read(descriptor, buffers, position)

    monkeypatch.setattr(os, "preadv", counted)
    return asked


@pytest.mark.parametrize(
    "key",
    [
        slice(3, 9),
        slice(None, None, -2),
        slice(0, 0),
        [5, 0, 5],
        np.array([11, 2]),
        np.arange(SIZE) % 3 == 1,
        7,
        -1,
    ],
    ids=str,
)
def test_stored_images_are_indexed_like_an_array(stored, pixels, key):
    assert len(stored) == SIZE
    assert (stored.shape, stored.dtype) == (pixels.shape, pixels.dtype)
    np.testing.assert_array_equal(np.asarray(stored[key]), pixels[key])
    again = stored[::-1][key]
    np.testing.assert_array_equal(np.asarray(again), pixels[::-1][key])


def test_index_of_a_second_axis_is_refused_with_advice(stored):
    with pytest.raises(IndexError, match=r"np\.asarray\(images\)"):
        stored[:, 0]


def test_selecting_sorting_and_joining_do_not_read_pixels(stored, pixels, reads):
    labels = np.arange(SIZE) % 4
    examples = Examples(stored, labels, np.arange(SIZE))
    exemplars = Examples(255 - pixels[:5], labels[:5], np.arange(5))
    by_class = examples.select(np.argsort(labels, kind="stable"))
    part = by_class.select(by_class.labels == 2)
    pool = Examples.concatenate([part, exemplars, part.select([0])])
    assert reads == []
    expected = [*pixels[2::4], *(255 - pixels[:5]), pixels[2]]
    np.testing.assert_array_equal(np.asarray(pool.images), expected)
    assert reads == [pixels[0].nbytes] * 4


def test_joined_parts_of_a_file_have_one_source(stored, pixels):
    """Joining and cutting a pool repeatedly does not add sources."""
    exemplars = 255 - pixels[:2]
    pool = StoredImages.concatenate([stored[4:], exemplars, stored[:4]])
    again = StoredImages.concatenate([pool[::2], pool[1::2]])
    assert len(again.sources) == 2
    assert again.sources[0] is stored.sources[0]
    assert np.shares_memory(again.sources[1], exemplars)
    everything = np.concatenate([pixels[4:], exemplars, pixels[:4]])
    expected = np.concatenate([everything[::2], everything[1::2]])
    np.testing.assert_array_equal(np.asarray(again), expected)


def test_empty_parts_keep_the_image_shape(stored, pixels):
    nothing = StoredImages.concatenate([stored[:0], pixels[:0]])
    assert np.asarray(nothing).shape == (0, 3, 3, 2)


def test_examples_in_memory_do_not_read_the_disk(stored, pixels, reads):
    labels = np.arange(SIZE)
    held = Examples(stored, labels, labels).select([3, 1]).in_memory()
    reads.clear()
    np.testing.assert_array_equal(held.images, pixels[[3, 1]])
    assert reads == [] and isinstance(held.images, np.ndarray)
    assert np.shares_memory(held.in_memory().images, held.images)


def test_open_image_file_survives_removal_and_replacement(stored, pixels, tmp_path):
    (tmp_path / "images").unlink()
    (tmp_path / "images").write_bytes(bytes(pixels.nbytes))
    np.testing.assert_array_equal(np.asarray(stored), pixels)


def test_file_truncated_during_use_is_named(stored, tmp_path):
    with open(tmp_path / "images", "r+b") as file:
        file.truncate(50)
    np.asarray(stored[:2])
    with pytest.raises(OSError, match="cut off while it was in use") as caught:
        np.asarray(stored[2:3])
    assert caught.value.filename == str(tmp_path / "images")


def test_short_reads_of_the_disk_are_continued(stored, pixels, monkeypatch):
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda d, b, p: read(d, [b[0][:5]], p))
    np.testing.assert_array_equal(np.asarray(stored), pixels)


def test_digest_of_stored_images_equals_that_of_an_array(stored, pixels):
    for images in (stored[2:9], pixels[2:9]):
        assert pixel_sha256(images) == hashlib.sha256(pixels[2:9]).hexdigest()
