"""Copies among the files of a folder data set are told."""

import os

import numpy as np
import pytest
from PIL import Image

from bsce_keras import make_config
from bsce_keras.data.copied_files import equal_files
from bsce_keras.data.datasets import load_dataset


@pytest.fixture
def photos(tmp_path):
    """Two classes of three training photos and a test photo, all of equal size."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for place in (*(f"train/{name}/{i}" for i in range(3)), f"test/{name}/0"):
            path = tmp_path / f"{place}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    return tmp_path


def messages(photos, caplog, **request):
    request = {"image_size": 40, "num_base_classes": 2, "num_increments": 0, **request}
    config = make_config("folder", data_dir=str(photos), **request)
    load_dataset(config.stream)
    return caplog.messages


def copy(photos, source, target):
    (photos / target).write_bytes((photos / source).read_bytes())


def test_different_photos_give_no_warning(photos, caplog):
    assert not messages(photos, caplog)


def test_a_test_image_that_is_trained_on_is_named(photos, caplog):
    copy(photos, "train/cat/1.bmp", "test/cat/1.bmp")
    (message,) = messages(photos, caplog)
    assert "Images in the data set more than once: 1," in message
    assert "such as train/cat/1.bmp and test/cat/1.bmp" in message
    assert "since one copy is a test image" in message


def test_an_image_in_two_classes_is_named(photos, caplog):
    copy(photos, "train/cat/1.bmp", "train/dog/9.bmp")
    (message,) = messages(photos, caplog)
    assert "several classes: 1, such as train/cat/1.bmp and train/dog/9.bmp" in message


def test_copies_in_one_class_matter_if_a_share_is_held_out(photos, caplog):
    copy(photos, "train/cat/1.bmp", "train/cat/9.bmp")
    assert not messages(photos, caplog)
    (message,) = messages(photos, caplog, validation_share=0.3)
    assert "since one copy may be held out" in message


def test_files_that_differ_in_their_last_byte_are_not_equal(tmp_path):
    contents = [b"a" * 5000, b"a" * 4999 + b"b", b"a" * 5000, b"a" * 5001]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert equal_files([*paths, tmp_path / "missing"]) == [[0, 2]]


def test_pipes_are_not_opened(tmp_path):
    pipes = [tmp_path / "one", tmp_path / "two"]
    for pipe in pipes:
        os.mkfifo(pipe)
    assert equal_files(pipes) == []
