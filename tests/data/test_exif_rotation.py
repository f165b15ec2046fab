"""Photos that EXIF data ask to turn are named, because they are seen as stored."""

import io
import os

import numpy as np
import pytest
from PIL import ExifTags, Image

from bsce_keras import make_config
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.image_kinds import exif_orientation, turned_files


def photo(orientation=None, kind="JPEG", **options):
    image, exif = Image.new("RGB", (24, 16), (200, 30, 60)), Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read(orientation):
    assert exif_orientation(photo(orientation)) == orientation
    progressive = photo(orientation, progressive=True, comment=b"x" * 999)
    assert exif_orientation(progressive) == orientation


def test_both_byte_orders_are_read():
    little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    for tiff in (little, big):
        part = b"Exif\0\0" + tiff
        length = (len(part) + 2).to_bytes(2)
        assert exif_orientation(b"\xff\xd8\xff\xe1" + length + part) == 6


@pytest.mark.parametrize("data", [b"", b"text", photo(), photo(6, "PNG"), photo(9)])
def test_other_files_are_as_stored(data):
    assert exif_orientation(data) == 1


def test_cut_off_files_give_an_answer():
    whole = photo(6)
    for length in range(200):
        assert exif_orientation(whole[:length]) in range(1, 9)
    random = np.random.default_rng(0)
    for _ in range(200):
        noise = random.integers(0, 256, 60, np.uint8).tobytes()
        head = b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0\x08\0\0\0"
        assert exif_orientation(head + noise) in range(1, 9)


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for orientation in (1, 6 if name == "bee" else 1):
                path = tmp_path / split / name / f"{orientation}.jpg"
                # No two files have the same bytes.
                path.write_bytes(photo(orientation, comment=str(path).encode()))
    return tmp_path


def test_photos_of_a_folder_are_named_and_seen_as_stored(folder, caplog):
    config = make_config("folder", data_dir=folder, image_size=8)
    data = load_dataset(config.stream)
    texts = [one.getMessage() for one in caplog.records]
    assert len(texts) == 2
    for text, split in zip(texts, ("train", "test"), strict=True):
        path = folder / split / "bee/6.jpg"
        assert "1 of 3 images have an EXIF rotation, which neither" in text
        assert f"apply: {path}." in text
    bees = data.train.images[data.train.labels == 1]
    np.testing.assert_array_equal(bees[0], bees[1])


def test_a_pipe_and_a_missing_file_are_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(photo(8))
    paths = [str(tmp_path / "pipe.jpg"), str(tmp_path / "gone.jpg"), str(turned)]
    assert turned_files(paths) == [str(turned)]
