"""Description of folders of images from listings only. Does not import TensorFlow."""

import pathlib

from bsce_keras.data.folder_listing import (
    class_folders,
    count_images,
    evaluation_folder,
    has_images,
    training_folder,
)
from bsce_keras.data.named_dataset import LEAST_TO_BE_LARGE
from bsce_keras.runtime.errors import refuse
from bsce_keras.runtime.text import is_line


def describe_folder(asked):
    """Returns the `DatasetInfo` of train/CLASS/* and test/CLASS/*, or of CLASS/*."""
    problems, learned = asked.size_problems(), asked.learned
    if asked.data_dir is None:
        refuse(
            problems
            + [
                "--dataset=folder needs --data_dir=DIR, a folder that holds "
                "train/CLASS/* and test/CLASS/*. Received no --data_dir."
            ]
        )
    root = pathlib.Path(asked.data_dir).expanduser()
    if not root.is_dir():
        refuse([*problems, f"--data_dir={root} is not a folder. Check its name."])
    train, test = training_folder(root), evaluation_folder(root)
    if asked.test_only and not train.is_dir():
        train = test
    found = class_folders(train) if train.is_dir() else []
    if asked.test_only and test.is_dir():
        # Training images of learned classes may be gone.
        tested = class_folders(test)
        learned = (*learned, *tested)
        problems += _name_problems(test, sorted({*tested} - {*found}))
    names = sorted({*found, *learned})
    if not train.is_dir() and not asked.test_only:
        problems.append(
            f"{root} must hold train/CLASS/* (or CLASS/* with --validation_share). "
            f"{train} is not a folder: check --data_dir."
        )
    elif train.is_dir() and not names:
        problems.append(f"{train} must hold one folder per class. Received: 0 folders.")
    problems += _name_problems(train, found)
    if not asked.test_only:
        problems += _empty_class_problems(train, sorted({*found} - {*learned}))
    if not asked.validation_share:
        problems += _test_problems(root, names)
    refuse(problems)
    folders = [train / name for name in found]
    return asked.info(names, count_images(folders, LEAST_TO_BE_LARGE))


def _name_problems(train, names):
    """Names that configurations, tables and exports, which are text, cannot hold."""
    odd = [name for name in names if not is_line(name)]
    if not odd:
        return []
    return [
        "Every class folder needs a name of UTF-8 text without line breaks, tabs or "
        f"outer spaces. Received in {train}: {', '.join(map(ascii, odd))}. Rename "
        "these folders."
    ]


def _empty_class_problems(train, names):
    empty = [name for name in names if not has_images(train / name)]
    if not empty:
        return []
    return [
        f"Every class needs training images. Folders in {train} without any: "
        f"{', '.join(empty)}. Add images or remove these folders."
    ]


def _test_problems(root, names):
    test = evaluation_folder(root)
    if not test.is_dir():
        return [
            f"{root} must hold test/CLASS/* (or val/CLASS/*). Found neither test/ nor "
            "val/ in it. Add test images, or hold out a share of the training images: "
            "--validation_share=0.2."
        ]
    problems = []
    found = class_folders(test)
    unknown = sorted({*found} - {*names})
    if unknown and names:
        problems.append(
            f"Classes of {test} must also be in train/. Missing in train/: "
            f"{', '.join(unknown)}. Rename or remove them."
        )
    if not any(has_images(test / name) for name in found):
        problems.append(
            f"{test} must hold test images in folders named as in train/. Received: 0 "
            "images."
        )
    return problems
