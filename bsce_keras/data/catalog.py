"""Table of the data sets that `--dataset` may name.

A new data set needs an entry here and, unless TFDS prepares it, a file that describes
and loads it. Descriptions read only folder listings, label files and
`dataset_info.json`, so a wrong request is refused in milliseconds. TensorFlow is only
imported if a requested download is needed.
"""

import pkgutil

from bsce_keras.config import ImageSpec
from bsce_keras.config.choices import CIFAR, IMAGENET, SMALL, SUBIMAGENET
from bsce_keras.data import imagenet
from bsce_keras.data.given_images import ARRAYS
from bsce_keras.data.named_dataset import DatasetRequest, NamedDataset
from bsce_keras.data.tfds_copy import refused_reading
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import did_you_mean

_TFDS = "tfds:"
_LOAD_TFDS = "bsce_keras.data.tfds_images:load_tfds"
_NO_FILES = "which are arrays, not image files"
_OF_TFDS = {
    "on_bad_image": "whose prepared copy is refused if an image of it is damaged"
}
_NOTHING_TO_FETCH = "for which there is nothing to fetch"

_CIFAR = NamedDataset(
    "bsce_keras.data.tfds_description:describe_cifar",
    _LOAD_TFDS,
    # Statistics of LUCIR's code. Its deviations are means of per-image deviations.
    ImageSpec(
        size=32,
        stored_size=32,
        pad=4,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2009, 0.1984, 0.2023),
    ),
    CIFAR,
    has_equal_classes=True,
    can_be_fetched=True,
    without=_OF_TFDS,
)
_DESCRIBE_IMAGENET = "bsce_keras.data.tfds_description:describe_imagenet"
# The default mean and deviation are those of ImageNet. `crops.draw_crops` describes
# the difference from the crops of LUCIR's and PODNet's code.
_IMAGENET_IMAGE = ImageSpec(size=224, stored_size=256, training_crop="resized")

DATASETS = {
    "digits": NamedDataset(
        "bsce_keras.data.digits:describe_digits",
        "bsce_keras.data.digits:load_digits",
        # Mean and deviation over the training split that `load_digits` draws.
        ImageSpec(
            size=8,
            stored_size=8,
            channels=1,
            pad=1,
            flip=False,
            mean=(0.3053,),
            std=(0.3758,),
        ),
        SMALL,
        # Jodelet et al. keep 20; a class has only 130 images to choose from.
        exemplars_per_class=5,
        has_equal_classes=True,
        without={
            "download": _NOTHING_TO_FETCH,
            "data_dir": "which come with scikit-learn",
            "cache_dir": "which are always held in memory",
            "on_bad_image": _NO_FILES,
        },
    ),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    imagenet.SUBSET: NamedDataset(
        _DESCRIBE_IMAGENET,
        _LOAD_TFDS,
        _IMAGENET_IMAGE,
        SUBIMAGENET,
        can_be_fetched=True,
        without=_OF_TFDS,
    ),
    imagenet.WHOLE: NamedDataset(
        _DESCRIBE_IMAGENET,
        _LOAD_TFDS,
        _IMAGENET_IMAGE,
        IMAGENET,
        can_be_fetched=True,
        without=_OF_TFDS,
    ),
    "folder": NamedDataset(
        "bsce_keras.data.folder_description:describe_folder",
        "bsce_keras.data.folder_images:load_folder",
        without={"download": _NOTHING_TO_FETCH},
    ),
    f"{_TFDS}NAME": NamedDataset(
        "bsce_keras.data.tfds_description:describe_tfds",
        _LOAD_TFDS,
        can_be_fetched=True,
        without=_OF_TFDS,
    ),
}
_IN_MEMORY = NamedDataset(
    "bsce_keras.data.given_images:describe_arrays",
    "bsce_keras.data.given_images:load_arrays",
    without={
        "download": _NOTHING_TO_FETCH,
        "data_dir": "which are held in memory",
        "cache_dir": "which are held in memory",
        "on_bad_image": _NO_FILES,
    },
)
NAMES = tuple(DATASETS)
# List of the names for messages.
NAMES_TEXT = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"
EXEMPLARS_TEXT = "; ".join(
    [
        str(NamedDataset.exemplars_per_class),
        *(
            f"{entry.exemplars_per_class} for {name}"
            for name, entry in DATASETS.items()
            if entry.exemplars_per_class != NamedDataset.exemplars_per_class
        ),
    ]
)


def find_dataset(name):
    """Returns the `NamedDataset` of a value of `--dataset`; None if it is unknown."""
    if name == ARRAYS:
        return _IN_MEMORY
    return DATASETS.get(f"{_TFDS}NAME" if name.startswith(_TFDS) else name)


def describe_dataset(dataset, data_dir=None, **facts):
    """Finds a data set and describes it without reading images.

    Args:
        dataset: one of `NAMES`; `tfds:NAME` may end in `/CONFIG`.
        data_dir: see `DatasetRequest`.
        **facts: further arguments of `DatasetRequest`.

    Returns:
        A `DatasetInfo`.

    Raises:
        RequestError: the request cannot be met; it lists every problem found.
    """
    entry = find_dataset(dataset)
    if entry is None:
        raise RequestError(
            f"--dataset must be one of {', '.join(NAMES)}. Received: {dataset!r}."
            f"{did_you_mean(dataset, NAMES)} Data sets that only TFDS knows are "
            "written tfds:NAME."
        )
    with refused_reading():
        request = DatasetRequest(dataset, entry, data_dir, **facts)
        return pkgutil.resolve_name(entry.describe)(request)
