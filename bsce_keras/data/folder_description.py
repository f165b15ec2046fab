"""Description of folders of images, from file names only. Imports no TensorFlow."""

import pathlib

from bsce_keras.data.folder_listing import (
    IMAGE_EXTENSIONS,
    class_folders,
    evaluation_folder,
    has_images,
)
from bsce_keras.data.named_dataset import refuse
from bsce_keras.runtime.text import NO_LINE


def describe_folder(asked):
    """The `DatasetInfo` of a folder that holds train/CLASS/* and test/CLASS/*."""
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
    train, test = root / "train", evaluation_folder(root)
    found = class_folders(train) if train.is_dir() else []
    names = sorted({*found, *learned})
    if not train.is_dir():
        problems.append(
            f"{root} must hold train/CLASS/*. There is no folder {train}: check "
            "--data_dir."
        )
    elif not names:
        problems.append(f"{train} must hold one folder a class. It holds no folder.")
    problems += _name_problems(train, found)
    problems += _empty_class_problems(train, sorted({*found} - {*learned}))
    if not test.is_dir():
        problems.append(
            f"{root} must hold test/CLASS/* (or val/CLASS/*). Found neither test/ nor "
            "val/ in it."
        )
    else:
        problems += _test_problems(test, names)
    refuse(problems)
    return asked.info(names)


def _name_problems(train, names):
    """Class names end up in configurations, tables and exports, all of them text."""
    odd = [name for name in names if NO_LINE.search(name)]
    if not odd:
        return []
    return [
        "Every class folder needs a name of UTF-8 text without line breaks or tabs. "
        f"Received in {train}: {', '.join(map(ascii, odd))}. Rename these folders."
    ]


def _empty_class_problems(train, names):
    empty = [name for name in names if not has_images(train / name)]
    if not empty:
        return []
    return [
        f"Every class needs training images ({', '.join(IMAGE_EXTENSIONS)}). Without "
        f"any in {train}: {', '.join(empty)}. Add images or move these folders "
        "elsewhere."
    ]


def _test_problems(test, names):
    problems = []
    found = class_folders(test)
    unknown = [name for name in found if name not in set(names)]
    if unknown and names:
        problems.append(
            f"Classes of {test} must also be in train/. Unknown to train/: "
            f"{', '.join(unknown)}. Rename or remove them."
        )
    if not any(has_images(test / name) for name in found):
        problems.append(
            f"{test} must hold test images in folders named as in train/. It holds "
            "none."
        )
    return problems
