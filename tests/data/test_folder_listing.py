"""Class folders: every file that is ignored is logged."""

import pytest
from PIL import Image

from bsce_keras import make_config
from bsce_keras.data.catalog import describe_dataset
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.folder_listing import list_class
from bsce_keras.runtime.errors import RequestError


def save(path, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, kind)


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            save(tmp_path / split / name / "1.png")
    return tmp_path


def load(folder):
    return load_dataset(make_config("folder", data_dir=folder, image_size=8).stream)


def test_nested_folders_and_unusual_endings_are_counted(folder):
    save(folder / "train/ant/2024/may/1.png")
    save(folder / "train/ant/2024/1.JFIF", "JPEG")
    save(folder / "train/ant/1.webp", "WEBP")
    save(folder / "train/ant/without ending", "GIF")
    assert (load(folder).train.labels == 0).sum() == 5


def test_a_class_with_images_in_nested_folders_only_is_described(folder):
    save(folder / "train/cat/2024/1.png")
    assert "cat" in describe_dataset("folder", folder).class_names


def test_ignored_files_are_logged_with_reasons_in_one_line_per_class(folder, caplog):
    for number in range(5):
        (folder / f"train/ant/{number}.txt").write_text("text")
    (folder / "train/ant/._1.png").write_bytes(b"")
    (folder / "train/ant/.DS_Store").write_bytes(b"")
    (folder / "train/ant/2024").mkdir()
    (folder / "train/ant/2024/empty").touch()
    save(folder / "test/bee/.hidden/1.png")
    load(folder)
    ignored = [text for text in caplog.messages if text.startswith("Ignored")]
    assert ignored == [
        f"Ignored files in {folder}/train/ant: 1 empty (2024/empty); "
        "1 hidden (._1.png); 5 not an image (0.txt, 1.txt, 2.txt and 2 more).",
        f"Ignored files in {folder}/test/bee: 1 hidden (.hidden).",
    ]


def test_images_beside_the_class_folders_are_named(folder, caplog):
    save(folder / "train/loose.png")
    load(folder)
    assert "1 outside a class folder (loose.png)" in caplog.text


def test_images_of_a_kind_that_cannot_be_decoded_are_refused_by_name(folder):
    save(folder / "train/ant/scan.tif", "TIFF")
    with pytest.raises(RequestError, match="scan.tif: TIFF is not supported; convert"):
        load(folder)


def test_links_to_a_parent_folder_are_followed_once(folder):
    (folder / "train/ant/again").symlink_to(folder / "train")
    images, ignored = list_class(folder / "train/ant")
    assert [path.count("/1.png") for path in images] == [1, 1]
    assert not ignored
