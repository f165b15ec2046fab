"""Copies among the files of a folder data set, which make its accuracies untrue."""

import collections
import hashlib
import logging
import os
import stat

from bsce_keras.runtime.files import sha256

# Larger folders are not searched: reading a part of every file takes minutes.
MOST_FILES = 100_000
_HEAD = 4096

_log = logging.getLogger(__name__)


def warn_of_copies(root, train, test, validation_share=0.0):
    """Warns of files with the same bytes where they should be different images.

    Test images that are copies of training images are counted as recognised although
    the network has seen them. A copy in the folder of another class has a wrong label.

    Args:
        root: folder of the data set, for messages.
        train, test: `(paths, labels)` of the files.
        validation_share: share of training images that are held out. Above 0, copies
            among training images matter as those in `test/` do.
    """
    paths, labels = [*train[0], *test[0]], [*train[1], *test[1]]
    if len(paths) > MOST_FILES:
        return
    in_two_classes, in_both = [], []
    for group in equal_files(paths):
        if len({labels[i] for i in group}) > 1:
            in_two_classes.append(group)
        of_test = sum(i >= len(train[0]) for i in group)
        if validation_share or 0 < of_test < len(group):
            in_both.append(group)

    def pair(groups):
        first, *_, last = (os.path.relpath(paths[i], root) for i in groups[0])
        return f"{first} and {last}"

    if in_both:
        _log.warning(
            "Images in the data set more than once: %d, such as %s. Accuracies count "
            "images that were trained on, since one copy %s. Remove the copies.",
            len(in_both),
            pair(in_both),
            "may be held out" if validation_share else "is a test image",
        )
    if in_two_classes:
        _log.warning(
            "Images in the folders of several classes: %d, such as %s. Leave each in "
            "one of them.",
            len(in_two_classes),
            pair(in_two_classes),
        )


def equal_files(paths):
    """Returns lists of the positions of files that have the same bytes.

    Only files of equal size are opened, and only those with equal beginnings are read
    to their end. Files that cannot be read are left out.
    """
    groups = [range(len(paths))]
    for key in (_size, _sha256_of_head, sha256):
        groups = [part for group in groups for part in _split(paths, group, key)]
    return groups


def _split(paths, group, key):
    """Splits positions by the key of their files; leaves out what is alone."""
    parts = collections.defaultdict(list)
    for index in group:
        try:
            parts[key(paths[index])].append(index)
        except OSError:
            continue  # The search for faults names the file and the reason.
    return [part for part in parts.values() if len(part) > 1]


def _size(path):
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a file")  # Opening a pipe would wait.
    return status.st_size


def _sha256_of_head(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(_HEAD)).digest()
