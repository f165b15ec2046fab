"""Listing of image files in folders, one folder a class. Does not decode them."""

import collections
import contextlib
import itertools
import os
import pathlib

from bsce_keras.data.image_kinds import IMAGE_ENDINGS, file_kind

# Names of files that operating systems leave in folders of images.
_LITTER = (".ds_store", "thumbs.db", "desktop.ini")


def class_folders(folder):
    """Names of the visible sub-folders, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not _hidden(e.name))


def list_class(folder):
    """Lists the files of a class folder and of the folders inside it.

    A visible file is an image if its name has an ending of images, or if its first
    bytes are those of an image.

    Returns:
        `(images, ignored)`: sorted paths of the images, and a dictionary from the
        reason to the paths of all other files. Both are empty if the folder is missing.
    """
    if not os.path.isdir(folder):
        return [], {}
    images, ignored = [], collections.defaultdict(list)
    for path, reason in _walk(folder):
        if reason is None:
            images.append(path)
        else:
            ignored[reason].append(path)
    return sorted(images), ignored


def loose_files(folder):
    """Sorted paths of the visible files that lie beside the class folders."""
    with os.scandir(folder) as entries:
        return sorted(
            e.path
            for e in entries
            if not (e.is_dir() or _hidden(e.name) or e.name.lower() in _LITTER)
        )


def training_folder(data_dir):
    """Returns `train/` of a folder data set, or the folder itself for DIR/CLASS/*."""
    root = pathlib.Path(data_dir).expanduser()
    is_split = any((root / name).is_dir() for name in ("train", "test", "val"))
    is_pile = not is_split and root.is_dir() and bool(class_folders(root))
    return root if is_pile else root / "train"


def lies_among_classes(path, data_dir):
    """Returns True for a path inside the training folder of a folder data set."""
    with contextlib.suppress(OSError):
        images = os.path.realpath(training_folder(data_dir))
        return pathlib.Path(os.path.realpath(path)).is_relative_to(images)
    return False  # `describe_dataset` refuses a folder that cannot be listed.


def evaluation_folder(data_dir):
    """Returns `test/` of a folder data set, or `val/` if only that exists."""
    test, val = (pathlib.Path(data_dir).expanduser() / n for n in ("test", "val"))
    return val if val.is_dir() and not test.is_dir() else test


def has_images(folder):
    """Returns True if `list_class` finds an image."""
    return any(reason is None for _, reason in _walk(folder))


def count_images(folders, most):
    """Returns the number of images below some folders, counted as far as `most`."""
    found = (1 for folder in folders for _, reason in _walk(folder) if reason is None)
    return sum(itertools.islice(found, most))


def _walk(folder):
    """Yields `(path, reason to ignore it or None)` of every file below a folder."""
    seen, folders = set(), [os.fspath(folder)]
    while folders:
        status = os.stat(folder := folders.pop())
        # Links may lead back to a folder above.
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower() in _LITTER:
                    continue
                if _hidden(entry.name):
                    yield entry.path, "hidden"
                elif entry.is_dir():
                    folders.append(entry.path)
                else:
                    yield entry.path, _reason_to_ignore(entry)


def _reason_to_ignore(entry):
    if entry.name.lower().endswith(IMAGE_ENDINGS):
        return None
    kind, reason = file_kind(entry.path)
    return None if kind else reason


def _hidden(name):
    return name.startswith(".")
