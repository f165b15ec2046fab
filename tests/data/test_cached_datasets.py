"""Data sets on the disk have the same images as data sets in memory."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from bsce_keras.data import decoded_splits, folder_images, image_files, tfds_images
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.stored_images import StoredImages
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.runtime.errors import RequestError
from tests.data.test_datasets import (
    add_bad_files,
    configure,
    name_thousand_classes,
    save_image,
    write_tfds,
)


def save_noise(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for seed, name in enumerate(("ant/1.png", "ant/2.jpg", "bee/1.png", "bee/2.bmp")):
        save_noise(root / "train" / name, seed)
    save_noise(root / "test/bee/1.png", 9)
    return root


@pytest.fixture
def insects(tmp_path):
    """A prepared copy whose keys are not in the order of its files."""
    shards = [[("t30", 0), ("t0", 1)], [("t20", 1), ("t10", 0)]]
    splits = {"train": shards, "test": [[("v8", 1), ("v7", 0)]]}
    write_tfds(tmp_path / "tfds", "insects", splits)
    return tmp_path / "tfds"


@pytest.fixture
def decoded(monkeypatch):
    """List of the calls that make a decoding function."""
    made, square = [], image_files.square

    def counted(*args):
        made.append(args)
        return square(*args)

    for module in (image_files, tfds_images):
        monkeypatch.setattr(module, "square", counted)
    return made


def cached(config, cache_dir):
    return dataclasses.replace(config, cache_dir=str(cache_dir))


def assert_same(ours, expected):
    assert ours.skipped_images == expected.skipped_images
    for mine, theirs in ((ours.train, expected.train), (ours.test, expected.test)):
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        np.testing.assert_array_equal(mine.ids, theirs.ids)
        np.testing.assert_array_equal(np.asarray(mine.images), theirs.images)


def check_cache(config, cache_dir, decoded):
    """Checks that the cache equals memory, and that a second load does not decode."""
    expected = load_dataset(config)
    config = cached(config, cache_dir)
    first = load_dataset(config)
    assert isinstance(first.train.images, StoredImages)
    assert_same(first, expected)
    decoded.clear()
    assert_same(load_dataset(config), expected)
    assert decoded == []
    return expected


def test_folder_with_bad_files_is_cached(folder, tmp_path, decoded):
    add_bad_files(folder)
    config = configure("folder", folder, image_size=14, on_bad_image="skip")
    data = check_cache(config, tmp_path / "cache", decoded)
    names = [pathlib.Path(path).name for path in data.skipped_images]
    assert names == ["cut.jpg", "empty.png"]


def test_bad_files_are_refused_every_time(folder, tmp_path, decoded):
    add_bad_files(folder)
    config = cached(configure("folder", folder, image_size=14), tmp_path / "cache")
    for _ in range(2):
        decoded.clear()
        with pytest.raises(
            RequestError, match="Image files cannot be used: 2"
        ) as error:
            load_dataset(config)
        assert "ant/cut.jpg: cut off or altered" in str(error.value)
        assert "bee/empty.png: empty" in str(error.value)
    assert decoded == []


def test_a_prepared_copy(insects, tmp_path, decoded):
    config = configure("tfds:insects", insects, image_size=14)
    data = check_cache(config, tmp_path / "cache", decoded)
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]


def test_subimagenet_caches_only_its_own_classes(tmp_path, decoded):
    splits = {
        "train": [[("t1", 99), ("t2", 100)], [("t4", 999), ("t5", 0)]],
        "test": [[("u1", -1)]],
        "validation": [[("v1", 500), ("v2", 1)]],
    }
    copy = write_tfds(tmp_path, "imagenet2012", splits)
    name_thousand_classes(copy)
    check_cache(configure("subimagenet", tmp_path), tmp_path / "cache", decoded)
    kept = [path.stat().st_size for path in (tmp_path / "cache").glob("*.uint8")]
    assert sorted(kept) == [256 * 256 * 3, 2 * 256 * 256 * 3]


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def test_changed_files_are_decoded_anew(folder, tmp_path, decoded):
    config = configure("folder", folder, image_size=14)
    load_dataset(cached(config, tmp_path / "cache"))
    save_noise(folder / "train/bee/1.png", 99)
    touch(folder / "train/bee/1.png")
    decoded.clear()
    ours = load_dataset(cached(config, tmp_path / "cache"))
    # The test images did not change.
    assert len(decoded) == 1
    assert_same(ours, load_dataset(config))


@pytest.mark.parametrize(
    "change",
    [
        lambda train: save_image(train / "ant/3.png", "red"),
        lambda train: (train / "bee/1.png").unlink(),
        lambda train: (train / "bee/1.png").rename(train / "bee/3.png"),
        lambda train: (train / "bee/1.png").rename(train / "ant/3.png"),
        lambda train: touch(train / "ant/2.jpg"),
        lambda train: (train / "ant").rename(train / "cat"),
    ],
    ids=["added", "removed", "renamed", "moved", "written anew", "class renamed"],
)
def test_every_change_of_a_folder_changes_the_listing_digest(folder, change):
    def listing():
        paths = sorted(str(path) for path in folder.glob("train/*/*"))
        return folder_images._listing_sha256(paths)

    before = listing()
    assert listing() == before
    change(folder / "train")
    assert listing() != before


def test_unused_images_are_not_decoded(insects, tmp_path, decoded):
    config = configure("tfds:insects", insects, image_size=14)
    data = load_dataset(cached(config, tmp_path / "cache"), training_images=False)
    assert (len(data.train), len(data.test)) == (0, 2)
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 1


def test_refusal_for_lack_of_memory_names_the_cache(folder, tmp_path, monkeypatch):
    config = configure("folder", folder, image_size=14)
    num_bytes = sum(
        part.images.nbytes
        for data in [load_dataset(config)]
        for part in (data.train, data.test)
    )
    # Sorting takes as much again.
    monkeypatch.setattr(decoded_splits, "available_memory", lambda: 2 * num_bytes - 1)
    message = r"where they take 0\.000 GB, with --cache_dir=DIR"
    with pytest.raises(RequestError, match=message):
        load_dataset(config)
    assert len(load_dataset(cached(config, tmp_path / "cache")).train) == 4


def test_a_stream_reads_no_pixels(folder, tmp_path, monkeypatch):
    config = configure("folder", folder, image_size=14)
    config = dataclasses.replace(
        config,
        validation_share=0.4,
        order=(1, 0),
        num_base_classes=1,
        increments=(1,),
    )
    expected = ClassIncrementalStream(config)
    config = cached(config, tmp_path / "cache")
    ClassIncrementalStream(config)
    with monkeypatch.context() as disk:
        disk.setattr(os, "preadv", None)
        stream = ClassIncrementalStream(config)
        tests = [stream.seen_test(step) for step in stream.steps]
    for ours, theirs, test in zip(stream.steps, expected.steps, tests, strict=True):
        for mine, other in (
            (ours.examples, theirs.examples),
            (test, expected.seen_test(theirs)),
        ):
            assert isinstance(mine.images, StoredImages)
            np.testing.assert_array_equal(np.asarray(mine.images), other.images)
            np.testing.assert_array_equal(mine.labels, other.labels)
