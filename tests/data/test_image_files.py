"""A failure of the machine does not mark an intact image as bad."""

import errno
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.data import image_files, image_kinds
from bsce_keras.data.datasets import load_dataset
from bsce_keras.runtime.errors import RequestError, RunError


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for level in range(4):
                image = Image.new("RGB", (16, 16), (level, 0, 0))
                image.save(tmp_path / split / name / f"{level}.png")
    (tmp_path / "train/ant/bad.png").write_bytes(b"\x89PNG cut off")
    return tmp_path


def load(folder, **request):
    config = make_config(
        "folder", data_dir=folder, image_size=8, on_bad_image="skip", **request
    )
    return load_dataset(config.stream)


def fail_in_parallel(monkeypatch, fail_alone=False):
    """Makes decoding of files of level 2 fail with a lack of memory."""
    square = image_files.square

    def failing(encoded, image):
        decoded = square(encoded, image)
        is_two = tf.reduce_all(decoded[..., 0] == 2)
        if not tf.executing_eagerly():
            with tf.control_dependencies([tf.debugging.Assert(~is_two, ["OOM"])]):
                return tf.identity(decoded)
        if is_two and fail_alone:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM of 1 GB\nat ...")
        return decoded

    monkeypatch.setattr(image_files, "square", failing)


def test_images_that_fail_in_parallel_are_decoded_one_by_one(folder, monkeypatch):
    expected = load(folder)
    fail_in_parallel(monkeypatch)
    data = load(folder)
    np.testing.assert_array_equal(data.train.images, expected.train.images)
    np.testing.assert_array_equal(data.train.ids, expected.train.ids)
    assert data.skipped_images == expected.skipped_images
    assert len(data.skipped_images) == 1


def test_lack_of_memory_raises_and_is_not_cached_as_a_bad_image(
    folder, tmp_path, monkeypatch
):
    cache = {"cache_dir": tmp_path / "cache"}
    with monkeypatch.context() as patch:
        fail_in_parallel(patch, fail_alone=True)
        with pytest.raises(
            RunError, match=r"ant/2.png cannot be decoded: OOM of 1 GB\."
        ):
            load(folder, **cache)
    data = load(folder, **cache)
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert [path[-11:] for path in data.skipped_images] == ["ant/bad.png"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.EMFILE])
def test_a_failing_disk_is_not_a_bad_image(folder, monkeypatch, number):
    def fail(path):
        raise OSError(number, "failing", path)

    monkeypatch.setattr(image_kinds.os, "stat", fail)
    with pytest.raises(OSError, match="failing"):
        image_kinds.file_kind(str(folder / "train/ant/1.png"))


def test_all_frames_of_a_gif_count_for_the_limit_of_pixels(folder):
    noise = np.random.default_rng(0).integers(0, 256, (5, 16, 16), np.uint8)
    # Grey frames share one colour table; the other frames have their own.
    for mode in ("L", "RGB"):
        frames = [Image.fromarray(one).convert(mode) for one in noise]
        gif = io.BytesIO()
        frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:], duration=9)
        assert image_kinds.gif_pixels(gif.getvalue()) == 5 * 16 * 16
        assert image_kinds.gif_pixels(gif.getvalue()[:-9]) == 5 * 16 * 16
    (folder / "train/bee/moving.gif").write_bytes(gif.getvalue())
    image = ImageSpec(8, 8, max_pixels=5 * 16 * 16)
    path = str(folder / "train/bee/moving.gif")
    assert image_files.file_fault(path, image) is None
    image = ImageSpec(8, 8, max_pixels=5 * 16 * 16 - 1)
    assert image_files.file_fault(path, image) == "more than 1,279 pixels"


def test_lack_of_memory_that_looks_like_damage_raises(folder, monkeypatch):
    """The libraries for PNG and JPEG report a lack of memory as a damaged file."""
    path = folder / "train/bee/1.png"
    image = ImageSpec(8, 8)
    path.write_bytes(path.read_bytes()[:40])
    assert image_files.decode_file(path, image) == (None, "cut off or altered")
    monkeypatch.setattr(image_files, "_BYTES_OF_A_PIXEL", 2**45)
    with pytest.raises(RunError, match="not enough memory"):
        image_files.decode_file(path, image)


def test_the_limit_of_pixels_can_be_chosen(folder, tmp_path):
    large = folder / "train/ant/large.png"
    Image.new("RGB", (20, 20)).save(large)
    request = {"cache_dir": tmp_path / "cache", "max_image_pixels": 399}
    assert load(folder, **request).skipped_images[-1] == str(large)
    # Another limit does not use the images cached for this one.
    request["max_image_pixels"] = 400
    assert len(load(folder, **request).skipped_images) == 1


def test_pixel_limit_of_0_is_refused(folder):
    with pytest.raises(RequestError, match="--max_image_pixels must be"):
        load(folder, max_image_pixels=0)
