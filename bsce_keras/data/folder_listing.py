"""Image files in folders, one a class: found by name, never opened."""

import os
import pathlib

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def class_folders(folder):
    """Names of the visible sub-folders, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not _hidden(e.name))


def image_files(folder):
    """Paths of the images in a class folder, sorted; none if there is no folder."""
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if _is_image(entry))


def evaluation_folder(data_dir):
    """`test/` of a folder data set, or `val/` if it stands in for a missing `test/`."""
    test, val = (pathlib.Path(data_dir).expanduser() / n for n in ("test", "val"))
    return val if val.is_dir() and not test.is_dir() else test


def has_images(folder):
    """Whether there is an image in a class folder."""
    with os.scandir(folder) as entries:
        return any(_is_image(entry) for entry in entries)


def _is_image(entry):
    name = entry.name
    return name.lower().endswith(IMAGE_EXTENSIONS) and not _hidden(name)


def _hidden(name):
    return name.startswith(".")
