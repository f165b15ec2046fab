"""Folder with good and bad image files of every kind, under both policies."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
from PIL import Image

from bsce_keras import make_config, report, train
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.runtime.errors import RequestError

GREY = 100
SIZE = (20, 16)
# Valid file name that is not UTF-8.
LATIN_1_NAME = os.fsdecode(b"caf\xe9.png")


def grey(mode="L", size=SIZE):
    return Image.new("L", size, GREY).convert(mode)


def frames():
    others = [Image.new("L", SIZE, level) for level in (0, 255)]
    return {"save_all": True, "append_images": others, "duration": 50}


def write_good(folder):
    """Writes files that decode to grey of level 100; returns their names."""
    sixteen_bits = np.full(SIZE[::-1], 257 * GREY, np.uint16)
    images = {
        "grey.jpg": (grey(), {}),
        "grey.png": (grey(), {}),
        "bits.png": (Image.fromarray(sixteen_bits), {}),
        "alpha.png": (grey("RGBA"), {}),
        "grey alpha.png": (grey("LA"), {}),
        "palette.png": (grey("P"), {}),
        "clear.png": (grey("P"), {"transparency": GREY}),
        "cmyk.jpg": (grey("RGB").convert("CMYK"), {"quality": 95}),
        "progressive.jpeg": (grey("RGB"), {"progressive": True}),
        "LOUD.JPG": (grey("RGB"), {}),
        "moving.gif": (grey(), frames()),
        "moving.png": (grey(), frames()),
        "plain.bmp": (grey("RGB"), {}),
        "grey.bmp": (grey(), {}),
        "four bytes.bmp": (grey("RGBA"), {}),
        "dot.png": (grey(size=(1, 1)), {}),
        "dot.jpg": (grey(size=(1, 1)), {}),
        "strip.png": (grey(size=(1, 3000)), {}),
        "huge.jpg": (grey(size=(6000, 4000)), {}),
        "日本 ß 🦋.png": (grey("RGB"), {}),
        LATIN_1_NAME: (grey("RGB"), {}),
        "lossless.webp": (grey("RGB"), {"lossless": True}),
        "lossy.WEBP": (grey("RGB"), {"quality": 95}),
        "alpha.webp": (grey("RGBA"), {"lossless": True}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    # The content counts, not a wrong extension.
    shutil.copy(folder / "grey.png", folder / "really a png.jpg")
    shutil.copy(folder / "moving.gif", folder / "really a gif.bmp")
    (folder / "link.png").symlink_to("grey.png")
    copies = ["photo.jfif", "camera.JPE", "no ending", "other.ending"]
    for name in copies:
        shutil.copy(folder / "grey.jpg", folder / name)
    (folder / "2024/may").mkdir(parents=True)
    nested = ["2024/grey.png", "2024/may/grey.png", "2024/may/no ending"]
    for name in nested:
        shutil.copy(folder / "grey.png", folder / name)
    # A link that leads back adds no image twice.
    (folder / "2024/up").symlink_to("..")
    others = ["really a png.jpg", "really a gif.bmp", "link.png"]
    return [*images, *others, *copies, *nested]


def write_bad(folder):
    """Writes bad files; returns a part of the expected reason by name."""
    for kind in ("jpg", "png", "bmp", "gif"):
        path = folder / f"cut.{kind}"
        Image.effect_noise((60, 60), 40).save(path)
        os.truncate(path, path.stat().st_size * 2 // 3)
    (folder / "empty.png").touch()
    (folder / "letter.jpg").write_text("Dear Sir or Madam")
    grey("RGB").save(folder / "tiff.png", "TIFF")
    Image.new("RGB", SIZE, "red").convert("P").save(folder / "palette.bmp")
    altered = folder / "altered.png"
    grey().save(altered)
    data = bytearray(altered.read_bytes())
    data[45] ^= 16
    altered.write_bytes(data)
    grey("RGB").save(folder / "scan", "TIFF")
    grey("RGB").save(folder / "moving.webp", **frames())
    (folder / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    shutil.copy(altered, folder / "secret.png")
    (folder / "secret.png").chmod(0)
    undecodable = ["cut.jpg", "cut.png", "cut.bmp", "cut.gif", "altered.png"]
    return {
        **dict.fromkeys(undecodable, "cut off or altered"),
        "palette.bmp": "a BMP with compression or a colour palette",
        "moving.webp": "an animated WebP",
        "letter.jpg": "not an image",
        "tiff.png": "TIFF is not supported",
        "scan": "TIFF is not supported",
        "empty.png": "empty",
        "gone.jpg": "No such file",
        "pipe.png": "not a regular file",
        "secret.png": "Permission denied",
    }


@contextlib.contextmanager
def nobody():
    """Drops the rights of the superuser, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="module")
def files():
    """Folder, and the names of good and bad files in its class `mixed`."""
    # Not below pytest's own folder, which is closed to others.
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        for folder in ("train/mixed", "train/plain", "test/mixed", "test/plain"):
            path = pathlib.Path(root, folder)
            path.mkdir(parents=True)
            grey("RGB").save(path / "0.png")
        mixed = pathlib.Path(root, "train/mixed")
        good, bad = write_good(mixed), write_bad(mixed)
        pathlib.Path(root, "test/plain/empty.gif").touch()
        yield pathlib.Path(root), good, bad


def stream_of(root, policy):
    config = make_config(
        "folder", data_dir=str(root), image_size=14, on_bad_image=policy
    )
    with nobody():
        return ClassIncrementalStream(config.stream)


def test_exactly_the_bad_files_are_named_with_the_reason(files):
    root, good, bad = files
    with pytest.raises(RequestError) as refusal:
        stream_of(root, "error")
    head, *lines = refusal.value.problems
    assert head.startswith(f"Image files cannot be used: {len(bad) + 1}.")
    assert "--on_bad_image=skip" in head
    reasons = dict(line.rsplit(": ", 1) for line in lines)
    assert reasons.pop(str(root / "test/plain/empty.gif")) == "empty"
    assert reasons.keys() == {str(root / "train/mixed" / name) for name in bad}
    for name, reason in bad.items():
        assert reason in reasons[str(root / "train/mixed" / name)], name


def test_skipping_keeps_all_good_files_and_lists_the_others(files):
    root, good, bad = files
    stream = stream_of(root, "skip")
    [step, *_] = stream.steps
    assert step.class_names == ("mixed",)
    # With `0.png`. No file stands for another: each is where its name sorts.
    assert len(step.examples) == len(good) + 1
    names = sorted([*good, *bad, "0.png"])  # Positions in this list are the ids.
    assert [names[index] for index in step.examples.ids] == sorted([*good, "0.png"])
    levels = step.examples.images.astype(int)
    assert levels.shape[1:] == (16, 16, 3)
    assert np.abs(levels - GREY).max() <= 3
    skipped = {os.path.basename(path) for path in stream.dataset.skipped_images}
    assert skipped == {*bad, "empty.gif"}


def test_counts_of_skipped_files_reach_records_and_report(files, tmp_path, capsys):
    root, good, bad = files
    arguments = [
        *("--dataset=folder", f"--data_dir={root}", "--image_size=8"),
        *("--num_base_classes=2", "--backbone=small", "--epochs=1"),
        *("--precision=float32", "--noexport", f"--run_dir={tmp_path / 'run'}"),
    ]
    # The superuser may read `secret.png`, which is damaged too.
    assert train.main(arguments) == 2
    assert not (tmp_path / "run").exists()
    assert train.main([*arguments, "--on_bad_image=skip"]) == 0
    capsys.readouterr()
    assert report.main([str(tmp_path / "run")]) == 0
    num_skipped = len(bad) + 1
    assert f"{num_skipped} image files could not be decoded" in capsys.readouterr().out
    line = json.loads((tmp_path / "run" / "steps.jsonl").read_text())
    assert line["class_counts"] == [len(good) + 1, 1]
    assert line["train_images"] == len(good) + 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["skipped_images"]) == num_skipped
    assert str(root / "train/mixed/letter.jpg") in summary["skipped_images"]


def test_one_class_may_lack_test_images_but_not_all(files):
    root, *_ = files
    with tempfile.TemporaryDirectory() as copy:
        os.chmod(copy, 0o755)
        for folder in ("train/mixed", "train/plain", "test/mixed", "test/plain"):
            os.makedirs(os.path.join(copy, folder))
            shutil.copy(root / folder / "0.png", os.path.join(copy, folder))
        os.truncate(os.path.join(copy, "test/plain/0.png"), 0)
        stream = stream_of(copy, "skip")
        assert stream.seen_test(stream.steps[-1]).labels.tolist() == [0]
        os.truncate(os.path.join(copy, "test/mixed/0.png"), 0)
        with pytest.raises(RequestError, match="All 2 are damaged or unreadable"):
            stream_of(copy, "skip")
