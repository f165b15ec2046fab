"""What is known of a data set before any image is read.

Looks at folder listings, label files and `dataset_info.json` only, so that a wrong
request is refused in milliseconds: TensorFlow is not imported unless a download was
asked for and is needed.
"""

import dataclasses
import difflib
import pathlib
import re

from bsce_keras.config import ImageSpec
from bsce_keras.config.choices import CIFAR, IMAGENET, SMALL, SUBIMAGENET
from bsce_keras.data import imagenet, tfds_copy
from bsce_keras.data.folder_listing import (
    IMAGE_EXTENSIONS,
    class_folders,
    evaluation_folder,
    has_images,
)
from bsce_keras.data.tfds_copy import (
    evaluation_names,
    evaluation_splits,
    find_prepared,
    refused_reading,
    tfds_dir,
    tfds_name,
)
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import NO_LINE

NAMES = (
    *("digits", "cifar10", "cifar100", imagenet.SUBSET, imagenet.WHOLE),
    *("folder", "tfds:NAME"),
)
# For messages.
NAMES_TEXT = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"

# As their authors (and, for digits, `datasets`) split them.
_EQUAL_CLASSES = ("digits", "cifar10", "cifar100")
_SMALLEST_IMAGE, _LARGEST_IMAGE = 8, 4096
# Up to this size images suit the CIFAR network, above it the ImageNet one.
_LARGEST_CIFAR_LIKE = 40

# Mean and deviation over the training split that `datasets` draws.
_DIGITS_IMAGE = ImageSpec(
    size=8, stored_size=8, channels=1, pad=1, flip=False, mean=(0.3053,), std=(0.3758,)
)
# The statistics of LUCIR's code; its deviations are means of per-image deviations.
_CIFAR_IMAGE = ImageSpec(
    size=32,
    stored_size=32,
    pad=4,
    mean=(0.5071, 0.4866, 0.4409),
    std=(0.2009, 0.1984, 0.2023),
)
# Mean and deviation of ImageNet are the default. `crops.draw_crops` says how the
# crops differ from those of LUCIR's and PODNet's code.
_IMAGENET_IMAGE = ImageSpec(size=224, stored_size=256, training_crop="resized")


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A data set as the rest of the package needs to know it.

    Args:
        name: as it was asked for.
        class_names: indexed by class id.
        kind: `SMALL`, `CIFAR`, `SUBIMAGENET` or `IMAGENET`; picks the
            published schedule.
        image: how its images are held and shown to the network.
        default_backbone: taken unless the user names another.
    """

    name: str
    class_names: tuple[str, ...]
    kind: str
    image: ImageSpec
    default_backbone: str


# Data sets of one image size; a copy on the disk gives the names of the classes.
_KNOWN = {
    name: DatasetInfo(name, (), kind, image, backbone)
    for name, kind, image, backbone in (
        ("digits", SMALL, _DIGITS_IMAGE, "resnet8"),
        ("cifar10", CIFAR, _CIFAR_IMAGE, "resnet32"),
        ("cifar100", CIFAR, _CIFAR_IMAGE, "resnet32"),
        (imagenet.SUBSET, SUBIMAGENET, _IMAGENET_IMAGE, "resnet18"),
        (imagenet.WHOLE, IMAGENET, _IMAGENET_IMAGE, "resnet18"),
    )
}


def known_dataset(name):
    """`DatasetInfo` of a data set of one image size, without class names."""
    return _KNOWN[name]


def describe_dataset(
    dataset, data_dir=None, image_size=None, download=False, learned=()
):
    """Finds a data set and says what it holds.

    Args:
        dataset: one of `NAMES`; `tfds:NAME` may go on with `/CONFIG`.
        data_dir: TFDS directory (default `$TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`); for `folder` the parent of `train/` and `test/`.
        image_size: side the network sees, for `folder` and `tfds:NAME` (default 64).
        download: fetch and prepare a TFDS data set that is not there yet.
        learned: names of classes that a run of a `folder` has; their images may be
            gone.

    Returns:
        A `DatasetInfo`.

    Raises:
        RequestError: with every problem found.
    """
    with refused_reading():
        if dataset == "folder":
            return _describe_folder(data_dir, image_size, learned)
        if dataset.startswith("tfds:"):
            return _describe_tfds(dataset, data_dir, image_size, download)
        if dataset == "digits":
            _raise_if(_fixed_size_problems(dataset, image_size, _DIGITS_IMAGE))
            names = tuple(str(digit) for digit in range(10))
            return dataclasses.replace(known_dataset(dataset), class_names=names)
        if dataset in ("cifar10", "cifar100"):
            return _describe_cifar(dataset, data_dir, image_size, download)
        if dataset in imagenet.NUM_CLASSES:
            return _describe_imagenet(dataset, data_dir, image_size)
        raise RequestError(_unknown(dataset))


def has_equal_classes(dataset):
    """Whether every class is known to have equally many training images."""
    return dataset in _EQUAL_CLASSES


def _describe_folder(data_dir, image_size, learned):
    problems = _image_size_problems(image_size)
    if data_dir is None:
        _raise_if(
            problems
            + [
                "--dataset=folder needs --data_dir=DIR, a folder that holds "
                "train/CLASS/* and test/CLASS/*. Received no --data_dir."
            ]
        )
    root = pathlib.Path(data_dir).expanduser()
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
    _raise_if(problems)
    return _sized("folder", names, image_size)


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
        f"any in {train}: {', '.join(empty)}. Add images or remove these folders."
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


def _describe_cifar(dataset, data_dir, image_size, download):
    problems = _fixed_size_problems(dataset, image_size, _CIFAR_IMAGE)
    try:
        prepared = _prepared_copy(dataset, data_dir, download and not problems)
        names = tfds_copy.class_names(prepared)
    except RequestError as error:
        problems += error.problems
    _raise_if(problems)
    return dataclasses.replace(known_dataset(dataset), class_names=names)


def _describe_imagenet(dataset, data_dir, image_size):
    problems = _fixed_size_problems(dataset, image_size, _IMAGENET_IMAGE)
    names = ()
    try:
        prepared = find_prepared(imagenet.WHOLE, data_dir)
        if prepared is None:
            raise RequestError(imagenet.missing_copy(dataset, tfds_dir(data_dir)))
        tfds_copy.refuse_foreign_classes(prepared)
        problems += _tfds_problems(dataset, prepared)
        all_names = tfds_copy.class_names(prepared)
        names = imagenet.class_names(dataset, all_names, prepared)
    except RequestError as error:
        problems += error.problems
    _raise_if(problems)
    return dataclasses.replace(known_dataset(dataset), class_names=names)


def _describe_tfds(dataset, data_dir, image_size, download):
    name = tfds_name(dataset)
    problems = _image_size_problems(image_size)
    if not re.fullmatch(r"\w+(/[\w.+-]+)?", name):
        problems.append(
            "--dataset=tfds:NAME needs the name of a TFDS data set, such as "
            f"tfds:mnist or tfds:NAME/CONFIG. Received: {dataset!r}"
        )
        raise RequestError(problems)
    try:
        prepared = _prepared_copy(name, data_dir, download and not problems)
        problems += _tfds_problems(dataset, prepared)
        names = () if problems else tfds_copy.class_names(prepared)
    except RequestError as error:
        problems += error.problems
    _raise_if(problems)
    return _sized(dataset, names, image_size)


def _tfds_problems(dataset, prepared):
    problems = []
    found = tfds_copy.features(prepared)
    if not {"image", "label"} <= set(found):
        problems.append(
            "Only TFDS data sets with the features `image` and `label` can be learned. "
            f"{prepared} has: {', '.join(found) or 'none'}. Write its images into "
            "folders and use --dataset=folder."
        )
    splits = tfds_copy.split_names(prepared)
    if "train" not in splits or not evaluation_splits(dataset, prepared):
        needed = " or ".join(f"`{name}`" for name in evaluation_names(dataset))
        problems.append(
            f"A TFDS data set needs the split `train`, and {needed} to be evaluated "
            f"on. {prepared} has: {', '.join(splits)}. Write its images into folders "
            "and use --dataset=folder."
        )
    return problems


def _prepared_copy(name, data_dir, download):
    prepared = find_prepared(name, data_dir)
    if prepared is None and download:
        # The one place that may load TensorFlow: the user asked for a download.
        from bsce_keras.data.tfds_download import prepare_dataset

        prepare_dataset(name, data_dir)
        prepared = find_prepared(name, data_dir)
    if prepared is None:
        root = tfds_dir(data_dir)
        raise RequestError(
            f"No prepared copy of {name} in {root} (looked for "
            f"{root / name}/VERSION/dataset_info.json). Pass --data_dir=DIR, a TFDS "
            "directory that holds one, or --download to fetch it."
        )
    tfds_copy.refuse_foreign_classes(prepared)
    return prepared


def _sized(dataset, names, image_size):
    size = image_size or 64
    small = size <= _LARGEST_CIFAR_LIKE
    return DatasetInfo(
        name=dataset,
        class_names=tuple(names),
        kind=CIFAR if small else SUBIMAGENET,
        # 8/7 is the customary 256 / 224: room for the random crop of training.
        image=ImageSpec(size=size, stored_size=round(size * 8 / 7)),
        default_backbone="resnet32" if small else "resnet18",
    )


def _image_size_problems(image_size):
    if image_size is None or _SMALLEST_IMAGE <= image_size <= _LARGEST_IMAGE:
        return []
    return [
        f"--image_size must be from {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}. Received: "
        f"{image_size}"
    ]


def _fixed_size_problems(dataset, image_size, image):
    if image_size is None:
        return []
    return [
        f"--image_size is for `folder` and `tfds:NAME`; {dataset} is always "
        f"{image.size}x{image.size}. Received: {image_size}. Leave it out."
    ]


def _unknown(dataset):
    close = difflib.get_close_matches(dataset, NAMES, n=2)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return (
        f"--dataset must be one of {', '.join(NAMES)}. {hint}Received: {dataset!r}. "
        "Data sets that only TFDS knows are written tfds:NAME."
    )


def _raise_if(problems):
    if problems:
        raise RequestError(problems)
