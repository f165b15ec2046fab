"""Images of a data set with one folder a class, decoded."""

import functools
import hashlib
import logging
import os
import pathlib

import numpy as np

from bsce_keras.data.copied_files import warn_of_copies
from bsce_keras.data.decoded_splits import decoded_splits
from bsce_keras.data.examples import Examples
from bsce_keras.data.folder_listing import (
    evaluation_folder,
    list_class,
    loose_files,
    training_folder,
)
from bsce_keras.data.image_files import decode_file, decoded_files, file_fault
from bsce_keras.data.image_kinds import turned_files
from bsce_keras.data.splits import ImageDataset, Split, form
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed

_log = logging.getLogger(__name__)


def load_folder(stream_config, training_images, test_images):
    """Returns the `ImageDataset` of a folder of images; see `load_dataset`."""
    root = pathlib.Path(stream_config.data_dir).expanduser()
    names = stream_config.class_names
    listed_files = {
        "train": _list_files(training_folder(root), names if training_images else ()),
        "test": _list_files(evaluation_folder(root), names if test_images else ()),
    }
    share = stream_config.validation_share
    warn_of_copies(root, *listed_files.values(), share)
    splits = [
        _folder_split(
            f"{root.absolute().name}_{split}", paths, labels, stream_config.image
        )
        for split, (paths, labels) in listed_files.items()
    ]
    (train, bad_train), (test, bad_test) = (
        _of_files(decoded, *files)
        for decoded, files in zip(
            decoded_splits(splits, stream_config), listed_files.values(), strict=True
        )
    )
    bad = bad_train | bad_test
    if bad and stream_config.on_bad_image == "error":
        raise RequestError(
            [
                f"Image files cannot be used: {len(bad)}. Replace or remove them, or "
                "leave them out with --on_bad_image=skip:",
                *(f"{path}: {reason}" for path, reason in bad.items()),
            ]
        )
    _refuse_lost_classes(listed_files["train"][1], train, names)
    if test_images and not len(test):
        raise RequestError(_no_test_images(root, bad_test, names))
    if bad:
        _log.warning(
            "Left out %d images that cannot be decoded: %s.", len(bad), listed(bad)
        )
    return ImageDataset(train, test, tuple(bad))


def _no_test_images(root, bad_paths, class_names):
    folder = evaluation_folder(root)
    if bad_paths:
        return (
            f"{folder} must hold a test image that can be decoded. All "
            f"{len(bad_paths)} are damaged or unreadable. Replace some of them."
        )
    return (
        f"{folder} must hold test images in folders named after the classes, "
        f"{listed(class_names)}. Received: 0 images. Add some, or check --data_dir."
    )


def _refuse_lost_classes(labels_of_files, examples, class_names):
    lost = np.setdiff1d(labels_of_files, examples.labels)
    if len(lost):
        raise RequestError(
            "Every class needs a training image that can be decoded. Classes without "
            f"one: {', '.join(class_names[label] for label in lost)}. Add images or "
            "remove these folders."
        )


def _list_files(folder, class_names):
    """Returns the paths of the images below a folder, by class, and their labels."""
    by_class = [_class_images(folder / name) for name in class_names]
    loose = loose_files(folder) if class_names and folder.is_dir() else []
    _warn_of_ignored(folder, {"outside a class folder": loose} if loose else {})
    labels = np.repeat(
        np.arange(len(by_class), dtype=np.int64), [len(part) for part in by_class]
    )
    return [path for class_paths in by_class for path in class_paths], labels


def _class_images(folder):
    """Returns the paths of the images of a class; logs which files are ignored."""
    images, ignored = list_class(folder)
    _warn_of_ignored(folder, ignored)
    return images


def _warn_of_ignored(folder, ignored):
    parts = [
        f"{len(paths)} {reason} ({listed(_relative(paths, folder), 3)})"
        for reason, paths in sorted(ignored.items())
    ]
    if parts:
        _log.warning("Ignored files in %s: %s.", folder, "; ".join(parts))


def _warn_of_turned(paths):
    turned = turned_files(paths)
    if turned:
        _log.warning(
            "%d of %d images have an EXIF rotation, which neither training nor exports "
            "apply: %s. Turn their pixels, such as by `mogrify -auto-orient`.",
            len(turned),
            len(paths),
            listed(turned, 3),
        )


def _relative(paths, folder):
    return [os.path.relpath(path, folder) for path in sorted(paths)]


def _folder_split(title, paths, labels, image):
    """Returns the `Split` of some files, keyed by positions in the list of paths."""
    # Computed on first use: a cached split does not inspect its files.
    reasons = functools.cache(lambda: [file_fault(path, image) for path in paths])

    def batches(keys):
        rest = range(keys.max(initial=-1) + 1, len(paths))
        whole = np.array([i for i in rest if reasons()[i] is None], np.int64)
        _warn_of_turned([paths[i] for i in whole])
        for places, squares in decoded_files([paths[i] for i in whole], image):
            yield whole[places], labels[whole[places]], squares

    def bad(keys):
        missing = np.setdiff1d(np.arange(len(paths)), keys).tolist()
        return [[i, reasons()[i] or decode_file(paths[i], image)[1]] for i in missing]

    def of():
        return {"files": _listing_sha256(paths), **form(image)}

    return Split(title, of, image, len(paths), batches, bad)


def _listing_sha256(paths):
    """SHA-256 of the paths, modes, sizes and modification times of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
            facts = (status.st_mode, status.st_size, status.st_mtime_ns)
        except OSError as error:
            facts = (error.errno,)
        digest.update(os.fsencode(f"{os.path.abspath(path)}\0{facts}\0"))
    return digest.hexdigest()


def _of_files(decoded, paths, labels):
    """Returns the `Examples` of some files, and the faults of the others by path."""
    # Positions in the list of the class do not depend on other classes.
    positions = np.arange(len(paths)) - np.searchsorted(labels, labels)
    keys = decoded.keys
    examples = Examples(decoded.images, labels[keys], positions[keys])
    return examples, {paths[index]: reason for index, reason in decoded.bad}
