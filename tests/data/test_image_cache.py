"""The image cache decodes images once and never returns damaged ones."""

import dataclasses
import fcntl
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.data import image_cache, stored_images
from bsce_keras.data.image_cache import load_or_decode
from bsce_keras.data.pixel_digests import pixel_sha256
from bsce_keras.data.splits import Split, form
from bsce_keras.runtime.errors import RequestError
from tests.reliability.conftest import FailingDisk

IMAGE = ImageSpec(size=4, stored_size=4, channels=1)
SIZE, BATCH, SKIPPED = 10, 3, 4
LABELS = np.arange(SIZE) % 2
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, 4, 4, 1), np.uint8)
KEPT = np.delete(np.arange(SIZE), SKIPPED)


class Source:
    """Ten images, the fifth not decodable; counts the decoded ones."""

    def __init__(self, version=1):
        self.num_decoded = 0
        self.split = Split(
            "tfds:pictures/small_train",
            lambda: {"version": version},
            IMAGE,
            SIZE,
            self._batches,
            lambda keys: np.setdiff1d(np.arange(SIZE), keys).tolist(),
        )

    def _batches(self, keys):
        rest = KEPT[keys.max(initial=-1) < KEPT]
        for start in range(0, len(rest), BATCH):
            batch = rest[start : start + BATCH]
            self.num_decoded += len(batch)
            yield batch, LABELS[batch], PIXELS[batch]


def load(cache_dir, source=None):
    """Loads the split from the cache, checks it, and returns the number decoded."""
    source = source or Source()
    [decoded] = load_or_decode(str(cache_dir), [source.split])
    np.testing.assert_array_equal(np.asarray(decoded.images), PIXELS[KEPT])
    np.testing.assert_array_equal(decoded.keys, KEPT)
    np.testing.assert_array_equal(decoded.labels, LABELS[KEPT])
    assert decoded.bad == [SKIPPED]
    return source.num_decoded


@pytest.fixture(autouse=True)
def saved_after_every_batch(monkeypatch):
    monkeypatch.setattr(image_cache, "_SAVE_BYTES", 1)


@pytest.fixture
def cache(tmp_path):
    """A cache that has the images."""
    assert load(tmp_path / "cache") == len(KEPT)
    return tmp_path / "cache"


def file_of(cache, ending):
    [path] = cache.glob(f"*{ending}")
    return path


@pytest.mark.parametrize(
    "changes", [{"stored_size": 5}, {"channels": 3}, {"max_pixels": 9}]
)
def test_images_that_are_decoded_otherwise_have_another_fingerprint(changes):
    assert form(dataclasses.replace(IMAGE, **changes)) != form(IMAGE)
    smaller = dataclasses.replace(IMAGE, size=3, augmentation="trivial")
    assert form(smaller) == form(IMAGE)


def test_second_run_does_not_decode(cache):
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert load(cache) == 0
    assert before == {path: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_other_source_files_get_another_cache_entry(cache):
    assert load(cache, Source(version=2)) == len(KEPT)
    assert load(cache) == 0


def test_cache_file_names_have_title_and_shape(cache):
    name = file_of(cache, ".uint8").name
    assert name.startswith("tfds-pictures-small_train_4x4x1_")


def damage(path, position):
    """Flips a bit and keeps size and time of the file."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("ending", [".json", ".npz"])
def test_damaged_cache_description_is_found_and_repaired(cache, ending, caplog):
    damage(file_of(cache, ending), 60)
    assert load(cache) == len(KEPT)
    assert "is damaged: " in caplog.text
    assert load(cache) == 0


@pytest.mark.parametrize("ending", [".uint8", ".json", ".npz"])
def test_missing_or_truncated_cache_file_is_decoded_again(cache, ending):
    path = file_of(cache, ending)
    path.write_bytes(path.read_bytes()[:-3])
    assert load(cache) == len(KEPT)
    file_of(cache, ending).unlink()
    assert load(cache) == len(KEPT)
    assert load(cache) == 0


@pytest.mark.parametrize("seconds", [-60, 60])
def test_altered_cache_pixels_are_decoded_again(cache, seconds, caplog):
    path = file_of(cache, ".uint8")
    damage(path, 70)
    modified = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(modified, modified))
    assert load(cache) == len(KEPT)
    assert "its pixels differ from the decoded ones" in caplog.text


def test_a_copied_cache_is_read_once_and_then_trusted(cache, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    for path in cache.iterdir():
        shutil.copyfile(path, other / path.name)
    # All pixels are read, more than fit into memory at once.
    few = functools.partial(stored_images.blocks, size=4)
    monkeypatch.setattr(image_cache, "blocks", few)
    assert load(other) == 0
    monkeypatch.setattr(image_cache._Entry, "_class_digests", None)
    assert load(other) == 0


def test_cache_repair_does_not_disturb_a_reader(cache):
    [decoded] = load_or_decode(str(cache), [Source().split])
    damage(file_of(cache, ".npz"), 60)
    begin(cache)
    np.testing.assert_array_equal(np.asarray(decoded.images), PIXELS[KEPT])
    assert load(cache) == len(KEPT) - 2 * BATCH


def test_renamed_pixels_are_not_decoded_again(tmp_path, monkeypatch):
    """The pixels are renamed before their description is written."""
    with monkeypatch.context() as patched:
        patched.setattr(image_cache._Entry, "_keep_digests", None)
        with pytest.raises(TypeError):
            load(tmp_path)
    assert not list(tmp_path.glob("*.partial.uint8"))
    assert load(tmp_path) == 0


KILLED = """
import os, signal
import tests.data.test_image_cache as tests
from bsce_keras.data import image_cache, stored_images

image_cache._SAVE_BYTES = 1
source = tests.Source()
batches = source._batches

def dying(keys):
    for number, batch in enumerate(batches(keys)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

object.__setattr__(source.split, "batches", dying)
image_cache.load_or_decode("cache", [source.split])
"""


def test_killed_process_loses_only_unsaved_images(tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == -signal.SIGKILL
    assert not list((tmp_path / "cache").glob("*[0-9a-f].json"))
    assert load(tmp_path / "cache") == len(KEPT) - 2 * BATCH
    assert list((tmp_path / "cache").glob("*.partial*")) == []
    assert load(tmp_path / "cache") == 0


def begin(cache_dir):
    """Decodes two batches and fails."""
    source = Source()
    batches = source._batches

    def failing(keys):
        for number, batch in enumerate(batches(keys)):
            if number == 2:
                raise RuntimeError("out of luck")
            yield batch

    object.__setattr__(source.split, "batches", failing)
    with pytest.raises(RuntimeError):
        load_or_decode(str(cache_dir), [source.split])


@pytest.mark.parametrize("ending", [".partial.uint8", ".partial.json"])
def test_damaged_partial_cache_is_decoded_from_the_start(tmp_path, ending):
    begin(tmp_path)
    damage(file_of(tmp_path, ending), 40)
    assert load(tmp_path) == len(KEPT)


def test_partial_cache_continues_after_the_last_saved_image(tmp_path):
    begin(tmp_path)
    with open(file_of(tmp_path, ".partial.uint8"), "ab") as file:
        file.write(b"half a batch")
    assert load(tmp_path) == len(KEPT) - 2 * BATCH


def test_disk_failure_at_any_write_leaves_a_usable_cache(tmp_path, monkeypatch):
    # Saves mostly wait for the disk.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    disk = FailingDisk(monkeypatch)
    for use in range(1, 200):
        cache_dir = tmp_path / str(use)
        try:
            with disk.failing(use):
                load(cache_dir)
        except OSError as error:
            assert error.filename
        load(cache_dir)
        assert load(cache_dir) == 0
        if not disk.was_reached:
            return
    raise AssertionError("more than 200 uses")


def test_cache_waits_for_another_process_that_decodes_the_same_split(
    tmp_path, monkeypatch
):
    lock = fcntl.flock
    other = Source()
    waited = []

    def locked_by_another(file, operation):
        if waited:
            return lock(file, operation)
        if operation & fcntl.LOCK_NB:
            raise BlockingIOError
        # The other process finishes and releases the lock.
        waited.append(True)
        assert load(tmp_path, other) == len(KEPT)

    monkeypatch.setattr(fcntl, "flock", locked_by_another)
    assert load(tmp_path) == 0
    assert waited


def test_too_little_room_is_refused_before_decoding(tmp_path, monkeypatch):
    free = SIZE * 16
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert load(tmp_path / "enough") == len(KEPT)
    free -= 1
    source = Source()
    with pytest.raises(RequestError, match=r"0\.000 GB more\. Its disk has 0\.000 GB"):
        load_or_decode(str(tmp_path / "less"), [source.split])
    assert source.num_decoded == 0
    # Cached images do not need more room.
    assert load(tmp_path / "enough") == 0


def images_of_class(cache, label):
    [decoded] = load_or_decode(str(cache), [Source().split])
    return decoded.images[decoded.labels == label]


def test_digests_of_classes_are_known_without_reading(cache, monkeypatch):
    monkeypatch.setattr(os, "preadv", None)
    for label in (0, 1):
        expected = hashlib.sha256(PIXELS[KEPT][LABELS[KEPT] == label]).hexdigest()
        assert pixel_sha256(images_of_class(cache, label)) == expected


def test_known_digests_are_of_images_in_the_order_of_their_keys(tmp_path):
    """Files of TFDS are shuffled, and a data set has its images in that order."""
    source = Source()
    shuffled = KEPT[::-1]
    names = np.array([f"image_{place}".encode() for place in shuffled], object)
    batch = names, LABELS[shuffled], PIXELS[shuffled]
    object.__setattr__(source.split, "batches", lambda keys: iter([batch]))
    [decoded] = load_or_decode(str(tmp_path), [source.split])
    assert decoded.keys.tolist() == names.tolist()
    images = decoded.images[np.argsort(decoded.keys)]
    for label in (0, 1):
        chosen = images[LABELS[KEPT] == label]
        expected = hashlib.sha256(PIXELS[KEPT][LABELS[KEPT] == label]).hexdigest()
        assert pixel_sha256(chosen) == expected
        # Other orders of the same images have other digests.
        backwards = hashlib.sha256(np.asarray(chosen[::-1])).hexdigest()
        assert pixel_sha256(chosen[::-1]) == backwards != expected


def test_digest_of_a_selection_is_computed_once(cache, monkeypatch):
    part = slice(1, 3)
    first = pixel_sha256(images_of_class(cache, 1)[part])
    # Truncated line, as after a crash.
    with open(file_of(cache, ".sha256"), "a") as file:
        file.write("0123")
    monkeypatch.setattr(os, "preadv", None)
    assert pixel_sha256(images_of_class(cache, 1)[part]) == first


def test_digests_of_replaced_pixels_are_removed(cache):
    path = file_of(cache, ".sha256")
    path.write_text(path.read_text().replace(" ", " " + "0" * 64 + "\n")[:129] + "\n")
    file_of(cache, ".npz").unlink()
    assert load(cache) == len(KEPT)
    assert "0" * 64 not in path.read_text()
